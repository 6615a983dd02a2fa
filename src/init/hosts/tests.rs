//! What becomes of the file when init, other inits and the kubelet write it.

use rustix::event::PollFlags;

use super::super::poll;
use super::*;

fn entry(address: &str, names: &[&str]) -> HostEntry {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    HostEntry { address: address.to_owned(), names }
}

fn hosts(text: &str) -> (tempfile::TempDir, Hosts) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("hosts");
    fs::write(&path, text).expect("a file");
    (directory, Hosts::new(path))
}

#[test]
fn names_are_added_put_back_and_taken_out() {
    let (_directory, hosts) = hosts("127.0.0.1\tlocalhost\n");
    let text = || fs::read_to_string(&hosts.path).expect("the file");
    hosts.replace(&[entry("127.0.0.1", &["redis", "cache"])]).expect("written");
    assert_eq!(text(), "127.0.0.1\tlocalhost\n127.0.0.1\tredis cache\t# ephemon\n");

    fs::write(&hosts.path, "10.0.0.1\tpod").expect("the kubelet's write");
    hosts.reapply().expect("written");
    assert_eq!(text(), "10.0.0.1\tpod\n127.0.0.1\tredis cache\t# ephemon\n");

    hosts.replace(&[]).expect("written");
    assert_eq!(text(), "10.0.0.1\tpod\n#27.0.0.1\tredis cache\t# ephemon\n");
}

#[test]
fn what_is_written_before_the_first_look_is_noticed() {
    let (_directory, hosts) = hosts("10.0.0.1\tpod\n");
    let is_written = |within| {
        let watch = hosts.watch().map(|watch| (watch, PollFlags::IN));
        poll::wait(&[watch], Some(within)).iter().any(|flags| !flags.is_empty())
    };
    hosts.replace(&[entry("127.0.0.1", &["redis"])]).expect("written");
    // Its own write is noticed, too, and changes nothing. The kernel tells of a write when the last
    // descriptor is closed, of which a process that another test is starting may have a copy.
    let minute = Duration::from_mins(1);
    assert!(is_written(minute));
    let is_quiet = (0..100).any(|_| {
        hosts.reapply().expect("written");
        !is_written(Duration::ZERO)
    });
    assert!(is_quiet);
    fs::write(&hosts.path, "10.0.0.2\tpod\n").expect("the kubelet's write");
    assert!(is_written(minute));
    hosts.reapply().expect("written");
    let text = fs::read_to_string(&hosts.path).expect("the file");
    assert_eq!(text, "10.0.0.2\tpod\n127.0.0.1\tredis\t# ephemon\n");
}

#[test]
fn what_is_right_is_not_written_again() {
    let lines = lines(&["127.0.0.1\ta\t# ephemon"], &[]);
    let Changes { appended, commented } = changes(b"", &lines);
    assert_eq!((&*appended, commented.len()), ("127.0.0.1\ta\t# ephemon\n", 0));
    assert_eq!(changes(appended.as_bytes(), &lines), Changes::default());
}

fn lines(wanted: &[&str], gone: &[&str]) -> Lines {
    let set = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
    Lines { wanted: set(wanted), gone: set(gone), commented: 0 }
}

#[test]
fn a_wanted_line_that_is_the_end_of_another_one_stays() {
    let (_directory, hosts) = hosts("10.0.0.1\tpod\n");
    let both = [entry("110.0.0.5", &["db"]), entry("10.0.0.5", &["db"])];
    hosts.replace(&both).expect("written");
    let before = fs::read_to_string(&hosts.path).expect("the file");
    assert_eq!(before.lines().filter(|line| line.starts_with('1')).count(), 3, "{before}");
    hosts.reapply().expect("written");
    assert_eq!(fs::read_to_string(&hosts.path).expect("the file"), before);
}

#[test]
fn two_inits_that_disagree_come_to_an_end() {
    let (_directory, mine) = hosts("10.0.0.1\tpod\n");
    let other = Hosts::new(mine.path.clone());
    mine.replace(&[entry("110.0.0.5", &["db"])]).expect("written");
    other.replace(&[entry("10.0.0.5", &["db"])]).expect("written");
    let text = || fs::read_to_string(&mine.path).expect("the file");
    for _ in 0..2 * MAX_COMMENTED {
        mine.reapply().expect("written");
        other.reapply().expect("written");
    }
    let before = text();
    assert!(before.lines().count() <= MAX_COMMENTED + 3, "{before}");
    assert!(before.contains("\n110.0.0.5\t") && before.contains("\n10.0.0.5\t"), "{before}");
    mine.reapply().expect("written");
    other.reapply().expect("written");
    assert_eq!(text(), before);
}

#[test]
fn the_end_of_a_line_whose_beginning_was_written_over_is_no_address() {
    let lines = lines(&["127.0.0.1\tredis\t# ephemon"], &["127.0.0.1\told\t# ephemon"]);
    let text = "10.0.0.1\tpod\n7.0.0.1\tredis\t# ephemon\n0.1\told\t# ephemon\nephemon\n\n";
    let Changes { appended, commented } = changes(text.as_bytes(), &lines);
    assert_eq!(appended, "127.0.0.1\tredis\t# ephemon\n");
    let starts: Vec<u64> = commented.into_iter().map(|(at, _)| at).collect();
    assert_eq!(starts, [13, 37]);
}

#[test]
fn a_line_that_is_gone_and_comes_back_is_taken_out_again() {
    let (_directory, hosts) = hosts("10.0.0.1\tpod\n");
    hosts.replace(&[entry("127.0.0.1", &["redis"])]).expect("written");
    let before = fs::read(&hosts.path).expect("the file");
    hosts.replace(&[]).expect("written");
    fs::write(&hosts.path, [&before[..], b"\xff\n"].concat()).expect("a job's write");
    hosts.reapply().expect("written");
    let text = fs::read(&hosts.path).expect("the file");
    assert_eq!(text, b"10.0.0.1\tpod\n#27.0.0.1\tredis\t# ephemon\n\xff\n");
}

#[test]
fn a_file_that_the_kubelet_is_about_to_write_is_waited_for() {
    let (_directory, hosts) = hosts("127.0.0.1\tlocalhost\n");
    let mut kubelet = fs::File::create(&hosts.path).expect("emptied");
    // Longer than a busy machine takes to get to the kubelet's write.
    let limit = Duration::from_mins(5);
    let redis = [entry("127.0.0.1", &["redis"])];
    thread::scope(|scope| {
        let replaced = scope.spawn(|| hosts.replace_within(&redis, limit));
        // Long enough for it to find the file empty.
        thread::sleep(PAUSE * 10);
        kubelet.write_all(b"127.0.0.1\tlocalhost\n10.0.0.1\tpod\n").expect("written");
        replaced.join().expect("no panic").expect("written");
    });
    let text = fs::read_to_string(&hosts.path).expect("the file");
    assert_eq!(text, "127.0.0.1\tlocalhost\n10.0.0.1\tpod\n127.0.0.1\tredis\t# ephemon\n");
}

#[test]
fn nothing_that_the_kubelet_writes_is_lost_whenever_it_writes() {
    const WRITTEN: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n";
    let (_directory, hosts) = hosts(WRITTEN);
    let mine = [entry("127.0.0.1", &["redis"])];
    hosts.replace(&mine).expect("written");
    thread::scope(|scope| {
        let kubelet = scope.spawn(|| {
            for round in 0..2000 {
                fs::write(&hosts.path, WRITTEN).expect("the kubelet's write");
                let text = fs::read_to_string(&hosts.path).expect("the file");
                assert!(text.starts_with(WRITTEN), "{round}: {text:?}");
            }
        });
        while !kubelet.is_finished() {
            hosts.reapply().expect("written");
        }
    });
    hosts.reapply().expect("written");
    let text = fs::read_to_string(&hosts.path).expect("the file");
    // Who reads in the middle of a write adds a line break, or the line once more, which mean nothing.
    let added = text.strip_prefix(WRITTEN).expect("all that the kubelet has written");
    let added: Vec<_> = added.lines().filter(|line| !line.is_empty()).collect();
    assert!(!added.is_empty(), "{text:?}");
    assert!(added.iter().all(|line| *line == "127.0.0.1\tredis\t# ephemon"), "{text:?}");
}

#[test]
fn the_lines_of_another_init_are_left_alone() {
    let other = "127.0.0.1\tother\t# ephemon\n";
    let (_directory, hosts) = hosts(other);
    hosts.replace(&[entry("::1", &["mine"])]).expect("written");
    let text = fs::read_to_string(&hosts.path).expect("the file");
    assert_eq!(text, format!("{other}::1\tmine\t# ephemon\n"));
}

#[test]
fn entries_that_could_inject_lines_are_refused() {
    let (_directory, hosts) = hosts("");
    for bad in [
        entry("127.0.0.1", &["a\n6.6.6.6 github.com"]),
        entry("127.0.0.1 x", &["a"]),
        entry("localhost", &["a"]),
        entry("127.0.0.1", &[]),
        entry("127.0.0.1", &[""]),
        entry("127.0.0.1", &["a b"]),
    ] {
        assert!(hosts.replace(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
    }
}
