//! Answers malformed requests with 400 and closes their keeper, on a thread of its own: nobody who dispatches may wait
//! for a slow reader.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;
use serde_json::json;
use tiny_http::Request;

use crate::error::Cause;

use super::disposal;
use super::judge::Bad;
use super::keeper::Keeper;

/// Refusals that may wait. Beyond that connections are closed without an answer.
const WAITING: usize = 256;

pub(super) struct Refuser {
    sender: Mutex<Option<Sender<Task>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Task {
    request: Request,
    peer: SocketAddr,
    bad: Bad,
    keeper: Arc<dyn Keeper>,
}

impl Refuser {
    pub(super) fn start() -> io::Result<Refuser> {
        let (sender, tasks) = bounded::<Task>(WAITING);
        let work = move || tasks.into_iter().for_each(answer);
        let thread = thread::Builder::new()
            .name("listener-refuse".into())
            .spawn(work)?;
        Ok(Refuser {
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(super) fn refuse(
        &self,
        request: Request,
        peer: SocketAddr,
        bad: Bad,
        keeper: Arc<dyn Keeper>,
    ) {
        log::info!("refused a malformed request from {peer}: {}", bad.0);
        let task = Task {
            request,
            peer,
            bad,
            keeper,
        };
        let result = match &*self.sender.lock() {
            Some(sender) => sender.try_send(task).map_err(TrySendError::into_inner),
            None => Err(task),
        };
        if let Err(Task {
            request,
            peer,
            keeper,
            ..
        }) = result
        {
            keeper.hangup().close(peer);
            disposal::discard(request);
            keeper.ended(peer);
        }
    }

    pub(super) fn shut_down(&self) {
        self.sender.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

fn answer(task: Task) {
    let Task {
        request,
        peer,
        bad,
        keeper,
    } = task;
    let cause = Cause::BadRequest;
    let body = json!({ "message": bad.0, "status": cause.status(), "cause": cause.code() });
    let body = format!("{body}\n");
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Proxy-Status: tollgate; error={}; details=\"{}\"\r\nConnection: close\r\n\r\n{body}",
        body.len(),
        cause.proxy_status(),
        cause.code(),
    );
    // Nothing of its body is of interest, and dropping the reader must not wait for it.
    keeper.hangup().stop_reading(peer);
    if request
        .body_length()
        .is_some_and(|length| disposal::is_dangerous(length as u64))
    {
        disposal::give_up(request, 400, body.as_bytes());
    } else {
        let mut writer = request.into_writer();
        let _ = writer
            .write_all(answer.as_bytes())
            .and_then(|()| writer.flush());
        // Before tiny_http gets its turn: it would answer what follows on its own account.
        keeper.hangup().close(peer);
    }
    keeper.hangup().close(peer);
    keeper.ended(peer);
}
