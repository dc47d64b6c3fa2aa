//! The listener engines, and the macro that runs one test on each of them.

/// A listener engine, by the name it has in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// tiny_http accepts and parses.
    TinyHttp,
}

impl Engine {
    /// What `server.engine` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::TinyHttp => "tiny_http",
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
            }
        )+
    };
}
pub(crate) use on_each_engine;
