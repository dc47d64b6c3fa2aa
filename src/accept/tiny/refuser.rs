//! Answers malformed requests with 400 and closes their connections, on a thread of its own: nobody who dispatches may wait
//! for a slow reader.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;
use serde_json::json;
use tiny_http::Request;

use crate::error::Cause;
use crate::message::forwarded::PSEUDONYM;
use crate::message::head::ResponseHead;

use super::disposal;
use super::judge::Bad;
use super::keeper::Keeper;
use super::writer::TinyWriter;

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
        let work = move || {
            for task in tasks {
                if catch_unwind(AssertUnwindSafe(|| answer(task))).is_err() {
                    log::error!("a refusal panicked; the next one goes on");
                }
            }
        };
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
            keeper.discard(peer, request);
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
    let mut head = ResponseHead::new(cause.status_code());
    head.fields.append("Content-Type", "application/json");
    let status = format!(
        "{PSEUDONYM}; error={}; details=\"{}\"",
        cause.proxy_status(),
        cause.code()
    );
    head.fields.append("Proxy-Status", status);
    // What tiny_http takes for the body need not be one, so none of it is read.
    let unread = disposal::unread(&request);
    let mut writer = TinyWriter::start_unread(request, unread, &head, peer, keeper);
    // A client that has left does not read why.
    if writer.write_all(format!("{body}\n").as_bytes()).is_ok() {
        let _ = writer.finish();
    }
}
