//! Rotation in a folder of its own, with a clock that is turned by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::*;

fn by_size(size: u64, keep: usize) -> Rotation {
    Rotation {
        size,
        age: Duration::ZERO,
        keep,
    }
}

fn read(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

/// The names in the folder, sorted.
fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_full_file_moves_on_and_exactly_n_are_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let mut file = RotatingFile::open(&path, by_size(10, 2)).unwrap();
    for line in [
        "aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "eeee\n", "ffff\n", "gggg\n", "hhhh\n",
    ] {
        file.write_all(line.as_bytes()).unwrap();
    }
    assert_eq!(names(&folder), ["x.log", "x.log.1", "x.log.2"]);
    assert_eq!(read(&folder, "x.log"), "gggg\nhhhh\n");
    assert_eq!(read(&folder, "x.log.1"), "eeee\nffff\n");
    assert_eq!(read(&folder, "x.log.2"), "cccc\ndddd\n");
}

#[test]
fn many_lines_in_one_write_are_split_between_lines() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let mut file = RotatingFile::open(&path, by_size(10, 9)).unwrap();
    file.write_all(b"aaaa\nbbbb\ncc\ndd\na line longer than the limit\nee\n")
        .unwrap();
    assert_eq!(read(&folder, "x.log.3"), "aaaa\nbbbb\n");
    assert_eq!(read(&folder, "x.log.2"), "cc\ndd\n");
    assert_eq!(read(&folder, "x.log.1"), "a line longer than the limit\n");
    assert_eq!(read(&folder, "x.log"), "ee\n");
}

#[test]
fn zero_kept_means_the_old_file_goes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let mut file = RotatingFile::open(&path, by_size(5, 0)).unwrap();
    file.write_all(b"aaaa\nbbbb\n").unwrap();
    assert_eq!(names(&folder), ["x.log"]);
    assert_eq!(read(&folder, "x.log"), "bbbb\n");
}

#[test]
fn keeping_fewer_than_before_clears_the_surplus() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    for number in 1..=5 {
        fs::write(numbered(&path, number), format!("{number}")).unwrap();
    }
    let mut file = RotatingFile::open(&path, by_size(5, 2)).unwrap();
    file.write_all(b"aaaa\nbbbb\n").unwrap();
    assert_eq!(names(&folder), ["x.log", "x.log.1", "x.log.2"]);
    assert_eq!(read(&folder, "x.log.1"), "aaaa\n");
    assert_eq!(read(&folder, "x.log.2"), "1");
}

#[test]
fn an_old_file_moves_on_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let hour = Duration::from_secs(3600);
    let rotation = Rotation {
        size: 0,
        age: hour,
        keep: 3,
    };
    let start = SystemTime::now();
    let ahead = Arc::new(AtomicU64::new(0));
    let clock = || -> Clock {
        let ahead = Arc::clone(&ahead);
        Box::new(move || start + Duration::from_secs(ahead.load(Ordering::Relaxed)))
    };

    let mut file = RotatingFile::with_clock(&path, rotation, clock()).unwrap();
    file.write_all(b"young\n").unwrap();
    ahead.store(3599, Ordering::Relaxed);
    file.write_all(b"still young\n").unwrap();
    ahead.store(3600, Ordering::Relaxed);
    file.write_all(b"second\n").unwrap();
    assert_eq!(read(&folder, "x.log.1"), "young\nstill young\n");
    assert_eq!(read(&folder, "x.log"), "second\n");

    // The new process knows the file's age from the file (created just now, by the real clock).
    drop(file);
    ahead.store(2 * 3600, Ordering::Relaxed);
    let mut file = RotatingFile::with_clock(&path, rotation, clock()).unwrap();
    file.write_all(b"third\n").unwrap();
    assert_eq!(read(&folder, "x.log.1"), "second\n");
    assert_eq!(read(&folder, "x.log"), "third\n");
}

#[test]
fn a_restart_appends_and_counts_what_is_there() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    fs::write(&path, "aaaa\n").unwrap();
    let mut file = RotatingFile::open(&path, by_size(10, 1)).unwrap();
    file.write_all(b"bbbb\n").unwrap();
    assert_eq!(read(&folder, "x.log"), "aaaa\nbbbb\n");
    file.write_all(b"cccc\n").unwrap();
    assert_eq!(read(&folder, "x.log.1"), "aaaa\nbbbb\n");
}

#[test]
fn a_deleted_or_renamed_file_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("deep/er/x.log");
    let mut file = RotatingFile::open(&path, by_size(0, 1)).unwrap();
    file.write_all(b"one\n").unwrap();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    file.write_all(b"two\n").unwrap();
    assert_eq!(read(&folder, "moved"), "one\n");
    assert_eq!(read(&folder, "deep/er/x.log"), "two\n");

    fs::remove_dir_all(folder.path().join("deep")).unwrap();
    file.write_all(b"three\n").unwrap();
    assert_eq!(read(&folder, "deep/er/x.log"), "three\n");

    fs::rename(&path, folder.path().join("again")).unwrap();
    file.reopen();
    assert_eq!(read(&folder, "deep/er/x.log"), "");
}

#[test]
fn when_rotation_fails_the_lines_are_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    // A folder with something in it cannot be replaced by a file.
    fs::create_dir_all(numbered(&path, 1).join("in the way")).unwrap();
    let mut file = RotatingFile::open(&path, by_size(5, 1)).unwrap();
    file.write_all(b"aaaa\nbbbb\ncccc\n").unwrap();
    assert_eq!(read(&folder, "x.log"), "aaaa\nbbbb\ncccc\n");
}

#[test]
fn an_unusable_path_is_named() {
    let folder = TempDir::new().unwrap();
    let in_the_way = folder.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    let path = in_the_way.join("x.log");
    let error = RotatingFile::open(&path, by_size(0, 1)).err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("cannot open the log file "), "{text}");
    assert!(text.contains("file/x.log: "), "{text}");
}
