//! The listener engines, and the macros that run one test on each of them or on one.

/// A listener engine, by the name it has in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Our own: readiness instead of threads.
    Reactor,
    /// The same, and its clients speak TLS.
    ReactorTls,
    /// tiny_http accepts and parses.
    TinyHttp,
}

impl Engine {
    /// What `server.engine` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Reactor | Engine::ReactorTls => "reactor",
            Engine::TinyHttp => "tiny_http",
        }
    }
}

/// Makes each listed `fn name(engine: Engine)` a test per engine: `name::reactor`, `name::tiny_http`.
///
/// It stands at the top of a file as its table of contents. A function that is not listed is dead code, and the
/// compiler says so. A new engine needs one more test here.
macro_rules! on_each_engine {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn reactor() {
                    super::$name($crate::support::Engine::Reactor);
                }

                #[test]
                fn tiny_http() {
                    super::$name($crate::support::Engine::TinyHttp);
                }
            }
        )+
    };
}
pub(crate) use on_each_engine;

/// The same, and once more over TLS: for what a client can do and see at the level of HTTP.
macro_rules! on_each_engine_and_tls {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn reactor() {
                    super::$name($crate::support::Engine::Reactor);
                }
                #[test]
                fn tls() {
                    super::$name($crate::support::Engine::ReactorTls);
                }
                #[test]
                fn tiny_http() {
                    super::$name($crate::support::Engine::TinyHttp);
                }
            }
        )+
    };
}
pub(crate) use on_each_engine_and_tls;

/// The same for what only the reactor engine can do, or what it is stricter about.
macro_rules! on_reactor {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn reactor() {
                    super::$name($crate::support::Engine::Reactor);
                }
            }
        )+
    };
}
pub(crate) use on_reactor;

/// The same, and once more over TLS.
macro_rules! on_reactor_and_tls {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn reactor() {
                    super::$name($crate::support::Engine::Reactor);
                }
                #[test]
                fn tls() {
                    super::$name($crate::support::Engine::ReactorTls);
                }
            }
        )+
    };
}
pub(crate) use on_reactor_and_tls;
