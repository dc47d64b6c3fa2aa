//! The listener engines, and the macro that runs one test on each of them.

/// A listener engine, by the name it has in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// tiny_http accepts and parses.
    TinyHttp,
    /// Our own.
    Reactor,
}

impl Engine {
    /// What `server.engine` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::TinyHttp => "tiny_http",
            Engine::Reactor => "reactor",
        }
    }
}

/// Makes each listed `fn name(engine: Engine)` a test per engine: `name::tiny_http`, …
///
/// It stands at the top of a file as its table of contents. A function that is not listed is dead code, and the
/// compiler says so. A new engine needs one more test here.
macro_rules! on_each_engine {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn tiny_http() {
                    super::$name($crate::support::Engine::TinyHttp);
                }

                #[test]
                fn reactor() {
                    super::$name($crate::support::Engine::Reactor);
                }
            }
        )+
    };
}
pub(crate) use on_each_engine;
