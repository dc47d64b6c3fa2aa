//! The binary: arguments in, exit code out.

use std::process;

use tollgate::cli;

fn main() {
    process::exit(cli::main() as i32);
}
