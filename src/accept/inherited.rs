//! Listening sockets that a supervisor opened and passed on, as systemd does it (sd_listen_fds(3)).
//!
//! They come as descriptors from 3 on; `LISTEN_FDS` says how many, `LISTEN_PID` for which process, `LISTEN_FDNAMES` what they
//! are called. Which configured address a socket is for is told by its own address. What is done with it is the engines'.

use std::env;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::config::model::Address;

/// The first descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST: usize = 3;
/// Sockets that one process is passed at most: far more than anybody configures.
const MOST: usize = 256;

/// Sockets that were passed and that nobody has taken yet. The default is none.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Passed>,
}

/// One of them.
#[derive(Debug)]
struct Passed {
    /// For people: its number and the name that the supervisor gave it.
    label: String,
    /// Where it listens; `None`: at nothing that a configuration can name.
    address: Option<Address>,
    socket: PassedSocket,
}

#[derive(Debug)]
enum PassedSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Why sockets that were passed cannot be used.
#[derive(Debug)]
pub enum InheritError {
    /// A variable of the protocol says nothing that makes sense.
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong, and what to do.
        fault: String,
    },
    /// What was passed is nothing to listen on.
    Unusable {
        /// Which one.
        label: String,
        /// Why.
        error: io::Error,
    },
    /// The configuration asks for no such address.
    Unwanted {
        /// Which one.
        label: String,
        /// Where it listens, for people.
        address: String,
        /// What the configuration asks for.
        wanted: Vec<Address>,
    },
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InheritError::Variable { name, fault } => {
                write!(f, "the environment variable {name} {fault}")
            }
            InheritError::Unusable { label, error } => write!(
                f,
                "{label} was passed to listen on, but cannot be used: {error}; \
                 pass listening stream sockets only (ListenStream= in the .socket unit)"
            ),
            InheritError::Unwanted {
                label,
                address,
                wanted,
            } => {
                let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{label} listens on {address}, and no address in the configuration is for it \
                     (those are: {}); name it in server.listen or admin.listen, exactly as it is, or do not pass it \
                     (ListenStream= in the .socket unit)",
                    wanted.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for InheritError {}

impl Inherited {
    /// Takes what the environment says was passed to this process, and forgets the variables. A second call finds nothing.
    ///
    /// To be called before any thread is started, as it changes the environment, and before anything is opened.
    ///
    /// # Errors
    /// When the variables are this process's and make no sense, or a descriptor is no listening stream socket.
    pub fn from_environment() -> Result<Inherited, InheritError> {
        let variable = |name| env::var(name).ok();
        if !is_for(variable("LISTEN_PID"), std::process::id()) {
            return Ok(Inherited::default());
        }
        let Some(count) = variable("LISTEN_FDS") else {
            return Ok(Inherited::default());
        };
        let count = parse_count(&count)?;
        if env::var_os("LISTEN_FDS_FIRST_FD").is_some() {
            // Not part of the protocol, but the crate would obey it, whatever descriptors it names.
            return Err(InheritError::Variable {
                name: "LISTEN_FDS_FIRST_FD",
                fault: "is not supported: unset it, the first socket is descriptor 3".into(),
            });
        }
        let labels = labels(count, variable("LISTEN_FDNAMES").as_deref());
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::with_capacity(count);
        for (number, label) in labels.into_iter().enumerate() {
            sockets.push(Passed::take(&mut passed, number, label)?);
        }
        Ok(Inherited { sockets })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sockets.len()
    }

    /// Makes sure that each is for one of `wanted`, and for another one than the rest.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn expect_only(&self, wanted: &[Address]) -> Result<(), InheritError> {
        let mut free: Vec<&Address> = wanted.iter().collect();
        for passed in &self.sockets {
            let place = free.iter().position(|address| passed.is_at(address));
            let Some(place) = place else {
                let address = passed.address.as_ref().map(ToString::to_string);
                return Err(InheritError::Unwanted {
                    label: passed.label.clone(),
                    address: address.unwrap_or_else(|| "a Unix socket without a path".into()),
                    wanted: wanted.to_vec(),
                });
            };
            free.remove(place);
        }
        Ok(())
    }

    /// The TCP socket at `address`, if one was passed.
    pub(super) fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        match self.take(&Address::Ip(address))? {
            PassedSocket::Tcp(socket) => Some(socket),
            PassedSocket::Unix(_) => None,
        }
    }

    /// The Unix socket at the path in `address`, if one was passed.
    pub(super) fn take_unix(&mut self, address: &Address) -> Option<UnixListener> {
        match self.take(address)? {
            PassedSocket::Unix(socket) => Some(socket),
            PassedSocket::Tcp(_) => None,
        }
    }

    fn take(&mut self, address: &Address) -> Option<PassedSocket> {
        let place = self
            .sockets
            .iter()
            .position(|passed| passed.is_at(address))?;
        Some(self.sockets.remove(place).socket)
    }
}

impl Passed {
    fn take(passed: &mut ListenFd, number: usize, label: String) -> Result<Passed, InheritError> {
        match taken(passed, number) {
            Ok((socket, address)) => Ok(Passed {
                label,
                address,
                socket,
            }),
            Err(error) => Err(InheritError::Unusable { label, error }),
        }
    }

    /// Whether it is what `wanted` asks for. (Port 0 asks for a port that nobody has, and no socket listens on that.)
    fn is_at(&self, wanted: &Address) -> bool {
        match (&self.address, wanted) {
            (Some(Address::Ip(is)), Address::Ip(wanted)) => {
                is.ip() == wanted.ip() && is.port() == wanted.port()
            }
            (Some(Address::Unix(is)), Address::Unix(wanted)) => is == wanted,
            _ => false,
        }
    }
}

/// Takes a socket, which is closed on exec from then on, and finds out where it listens.
fn taken(passed: &mut ListenFd, number: usize) -> io::Result<(PassedSocket, Option<Address>)> {
    if let Ok(Some(socket)) = passed.take_unix_listener(number) {
        expect_listening(&SockRef::from(&socket))?;
        let address = socket.local_addr()?;
        let path = address
            .as_pathname()
            .map(|path| Address::Unix(path.to_owned()));
        return Ok((PassedSocket::Unix(socket), path));
    }
    let socket = passed
        .take_tcp_listener(number)?
        .ok_or(io::ErrorKind::NotFound)?;
    expect_listening(&SockRef::from(&socket))?;
    let address = Address::Ip(socket.local_addr()?);
    Ok((PassedSocket::Tcp(socket), Some(address)))
}

fn expect_listening(socket: &SockRef<'_>) -> io::Result<()> {
    if socket.is_listener()? {
        Ok(())
    } else {
        Err(io::Error::other("it does not listen"))
    }
}

/// Whether the variables are for this process: children of the one they were for have them too.
fn is_for(listen_pid: Option<String>, process: u32) -> bool {
    listen_pid.is_some_and(|text| text.parse() == Ok(process))
}

fn parse_count(text: &str) -> Result<usize, InheritError> {
    match text.parse() {
        Ok(count) if count <= MOST => Ok(count),
        Ok(_) => Err(InheritError::Variable {
            name: "LISTEN_FDS",
            fault: format!("says more than {MOST}: pass fewer sockets"),
        }),
        Err(_) => Err(InheritError::Variable {
            name: "LISTEN_FDS",
            fault: "is not a number: it is how many sockets are passed".into(),
        }),
    }
}

/// `count` sockets in words; fewer names than sockets are no error.
fn labels(count: usize, names: Option<&str>) -> Vec<String> {
    let mut names = names.unwrap_or_default().split(':');
    let label = |number| match names.next() {
        None | Some("" | "unknown") => format!("descriptor {number}"),
        Some(name) => format!("descriptor {number} ({})", name.escape_debug()),
    };
    (FIRST..FIRST + count).map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(addresses: &[&str]) -> Inherited {
        let tcp = |(number, address): (usize, &&str)| {
            let socket = TcpListener::bind(address).unwrap();
            Passed {
                label: format!("descriptor {}", FIRST + number),
                address: Some(Address::Ip(socket.local_addr().unwrap())),
                socket: PassedSocket::Tcp(socket),
            }
        };
        Inherited {
            sockets: addresses.iter().enumerate().map(tcp).collect(),
        }
    }

    fn address(inherited: &Inherited, number: usize) -> SocketAddr {
        inherited.sockets[number]
            .address
            .as_ref()
            .and_then(Address::ip)
            .unwrap()
    }

    #[test]
    fn a_socket_is_for_the_address_that_it_listens_on() {
        let mut inherited = inherited(&["127.0.0.1:0", "127.0.0.2:0"]);
        let (first, second) = (address(&inherited, 0), address(&inherited, 1));
        let wanted = [first, second].map(Address::Ip);
        assert!(inherited.expect_only(&wanted).is_ok());
        assert_eq!(
            inherited.take_tcp(second).unwrap().local_addr().unwrap(),
            second
        );
        assert!(inherited.take_tcp(second).is_none());
        assert!(inherited.take_tcp("127.0.0.1:0".parse().unwrap()).is_none());
        assert!(
            inherited
                .take_unix(&Address::Unix("/run/x".into()))
                .is_none()
        );
        assert_eq!(inherited.count(), 1);
    }

    #[test]
    fn a_socket_that_nobody_asked_for_is_named() {
        let inherited = inherited(&["127.0.0.1:0"]);
        let passed = address(&inherited, 0);
        let wanted = Address::Ip("127.0.0.1:0".parse().unwrap());
        let error = inherited.expect_only(&[wanted]).unwrap_err().to_string();
        assert!(error.contains(&passed.to_string()), "{error}");
        assert!(
            error.contains("descriptor 3") && error.contains("server.listen"),
            "{error}"
        );
    }

    #[test]
    fn an_address_is_for_one_socket_only() {
        let mut inherited = inherited(&["127.0.0.1:0", "127.0.0.1:0"]);
        let first = Address::Ip(address(&inherited, 0));
        inherited.sockets[1].address = Some(first.clone());
        assert!(inherited.expect_only(&[first]).is_err());
    }

    #[test]
    fn variables_are_read_with_care() {
        assert!(is_for(Some("7".into()), 7));
        assert!(!is_for(Some("8".into()), 7));
        assert!(!is_for(Some("x".into()), 7));
        assert!(!is_for(None, 7));
        assert_eq!(parse_count("2").unwrap(), 2);
        for bad in ["", "-1", "two", "257", "99999999999999999999"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
        assert_eq!(
            labels(3, Some("web:unknown")),
            ["descriptor 3 (web)", "descriptor 4", "descriptor 5"]
        );
    }
}
