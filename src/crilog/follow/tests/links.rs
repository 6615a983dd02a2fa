//! Logs that are links to files of Docker's `json-file` driver.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use ephemon_model::LogRefusal;

use super::*;

const ID: &str = "a0f57c0c702b40378c6460d0b3ecf29596c72d77d1bf18ee8169303b06f060a7";

fn json(text: &str) -> String {
    format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-11-23T12:16:41.5Z\"}}\n")
}

impl Node {
    fn docker(&self) -> PathBuf {
        let directory = self.root.path().join("docker").join(ID);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn docker_file(&self, suffix: &str) -> PathBuf {
        self.docker().join(format!("{ID}-json.log{suffix}"))
    }

    fn docker_writes(&self, text: &str) {
        let path = self.docker_file("");
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn link(&self, container: &str, to: impl AsRef<Path>) {
        fs::create_dir_all(self.path(container)).unwrap();
        symlink(to, self.path(container).join("0.log")).unwrap();
    }

    /// As cri-dockerd makes it: by the node's own paths.
    fn link_docker(&self, container: &str) {
        self.link(container, format!("/docker/{ID}/{ID}-json.log"));
    }

    /// As Docker rotates.
    fn docker_rotates(&self, max_file: usize, packs: bool) {
        let ext = if packs { ".gz" } else { "" };
        fs::remove_file(self.docker_file(&format!(".{}{ext}", max_file - 1))).ok();
        for number in (2..max_file).rev() {
            let from = self.docker_file(&format!(".{}{ext}", number - 1));
            fs::rename(from, self.docker_file(&format!(".{number}{ext}"))).ok();
        }
        fs::rename(self.docker_file(""), self.docker_file(".1")).unwrap();
        fs::write(self.docker_file(""), "").unwrap();
        if packs {
            let text = fs::read(self.docker_file(".1")).unwrap();
            let packed = fs::File::create(self.docker_file(".1.gz")).unwrap();
            let mut encoder = GzEncoder::new(packed, Compression::fast());
            encoder.write_all(&text).unwrap();
            encoder.finish().unwrap();
            fs::remove_file(self.docker_file(".1")).unwrap();
        }
    }

    fn refusals(&mut self) -> Vec<(String, LogRefusal)> {
        let refused = self.follower.refused();
        refused.into_iter().map(|it| (it.log.container.to_string(), it.why)).collect()
    }
}

#[test]
fn a_link_into_an_allowed_directory_is_read_through_rotation_and_restart() {
    for (use_inotify, packs) in [(true, false), (false, false), (true, true)] {
        let mut node = Node::new(use_inotify);
        node.read();
        node.docker_writes(&json("1\\n"));
        node.link_docker("job");
        node.read();
        for number in 2..12 {
            node.docker_rotates(3, packs);
            // The second half of a line may be in another file.
            let time = format!("41.{number:09}");
            node.docker_writes(&json(&format!("{number}")).replace("41.5", &time));
            node.read();
            node.docker_writes(&json(".\\n").replace("41.5", &time));
            if number % 4 == 0 {
                node.ack_all();
                node.restart();
            }
            node.read();
        }
        node.end("job");
        node.read();
        node.ack_all();
        let mut got = node.texts();
        got.dedup();
        let lines: Vec<String> =
            (1..12).map(|n| if n == 1 { "1".to_owned() } else { format!("{n}.") }).collect();
        assert_eq!(got, lines, "inotify {use_inotify}, packed {packs}");
        let [log] = node.follower.finished().try_into().unwrap();
        assert!(log.complete, "{log:?}");
        assert_eq!(node.refusals(), []);
        // Done with, as long as nothing is written.
        let before = node.told.len();
        node.restart();
        node.read();
        assert_eq!(node.told.len(), before);
    }
}

#[test]
fn files_that_docker_rotated_while_the_agent_was_away_are_read_in_order() {
    for packs in [false, true] {
        let mut node = Node::new(true);
        node.docker_writes(&json("1\\n"));
        node.link_docker("job");
        node.read();
        node.ack_all();
        let state = node.root.path().to_owned();
        node.follower.checkpoints().save(&state).unwrap();
        for number in 2..5 {
            node.docker_rotates(9, packs);
            node.docker_writes(
                &json(&format!("{number}\\n")).replace("41.5", &format!("42.{number}")),
            );
        }
        node.follower = follower(&state, true, Checkpoints::load(&state));
        node.read();
        assert_eq!(node.texts(), ["1", "2", "3", "4"]);
    }
}

#[test]
fn a_partial_line_at_the_end_is_sent_and_marked() {
    let mut node = Node::new(true);
    node.docker_writes(&(json("whole\\n") + &json("open")));
    node.link_docker("job");
    node.read();
    node.end("job");
    node.read();
    let got: Vec<_> = node.told.iter().map(|told| told.unended).collect();
    assert_eq!(
        (node.texts(), got),
        (vec!["whole".to_owned(), "open".to_owned()], vec![false, true])
    );
}

#[test]
fn a_link_that_leads_elsewhere_is_refused_said_once_and_never_complete() {
    let mut node = Node::new(false);
    let secret = node.root.path().join("docker").join(ID);
    fs::create_dir_all(&secret).unwrap();
    fs::write(secret.join("config.v2.json"), full("secret")).unwrap();
    fs::write(node.root.path().join("outside"), full("secret")).unwrap();
    node.link("outside", node.root.path().join("outside"));
    node.link("relative", "../../../outside");
    node.link("config", format!("/docker/{ID}/config.v2.json"));
    // The file is itself a link, then its directory is one, then it is a pipe.
    let [second, third, fourth] = ["b", "c", "d"].map(|digit| digit.repeat(64));
    let docker = node.root.path().join("docker");
    fs::create_dir_all(docker.join(&second)).unwrap();
    let to = format!("{second}/{second}-json.log");
    symlink(secret.join("config.v2.json"), docker.join(&to)).unwrap();
    node.link("linked-file", format!("/docker/{to}"));
    fs::create_dir_all(node.root.path().join("elsewhere")).unwrap();
    fs::write(node.root.path().join(format!("elsewhere/{third}-json.log")), json("secret"))
        .unwrap();
    symlink(node.root.path().join("elsewhere"), docker.join(&third)).unwrap();
    node.link("linked-directory", format!("/docker/{third}/{third}-json.log"));
    fs::create_dir_all(docker.join(&fourth)).unwrap();
    let to = format!("{fourth}/{fourth}-json.log");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let pipe = docker.join(&to);
    rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    node.link("pipe", format!("/docker/{to}"));
    node.read_if(Choice::Unsure);
    assert_eq!(node.refusals(), [], "nobody wants them yet");
    node.read();
    let mut refused = node.refusals();
    refused.sort();
    let (directory, target) = (LogRefusal::Directory, LogRefusal::Target);
    let expected = [
        ("config", target),
        ("linked-directory", LogRefusal::Unreadable),
        ("linked-file", target),
        ("outside", directory),
        ("pipe", target),
        ("relative", target),
    ];
    assert_eq!(refused, expected.map(|(name, why)| (name.to_owned(), why)));
    for name in expected.map(|(name, _)| name) {
        node.end(name);
    }
    node.read();
    assert_eq!((node.texts(), node.refusals()), (vec![], vec![]), "said once");
    assert!(node.follower.finished().is_empty(), "nothing is claimed of what is not read");
}

#[test]
fn a_link_whose_file_comes_into_reach_is_read_after_all() {
    let mut node = Node::new(false);
    node.link_docker("job");
    node.read();
    assert_eq!(node.refusals(), [("job".to_owned(), LogRefusal::Unreadable)]);
    node.docker_writes(&json("one\\n"));
    node.read();
    assert_eq!(node.texts(), ["one"]);
}

#[test]
fn an_unwanted_link_is_not_said() {
    let mut node = Node::new(false);
    node.link("outside", "/etc/passwd");
    node.read_if(Choice::Leave);
    node.read();
    assert_eq!(node.refusals(), []);
}

/// Docker writes the time behind the text: a line that is the same each time differs at its end only.
fn banner(second: u32) -> String {
    json(&format!("{}\\n", "=".repeat(3000))).replace("41.5", &format!("{second}.5"))
}

#[test]
fn files_whose_long_first_lines_differ_in_time_only_are_told_apart() {
    for (use_inotify, packs) in [(true, false), (false, false), (true, true)] {
        let mut node = Node::new(use_inotify);
        node.read();
        node.docker_writes(&(banner(10) + &json("1\\n")));
        node.link_docker("job");
        node.read();
        for number in 2..6 {
            node.docker_rotates(3, packs);
            node.docker_writes(&(banner(10 + number) + &json(&format!("{number}\\n"))));
            node.read();
            if number % 2 == 0 {
                node.ack_all();
                node.restart();
            }
            node.read();
        }
        node.end("job");
        node.read();
        node.ack_all();
        let texts = node.texts();
        let numbers: Vec<&str> =
            texts.iter().map(|text| &**text).filter(|it| it.len() < 9).collect();
        assert_eq!(numbers, ["1", "2", "3", "4", "5"], "inotify {use_inotify}, packed {packs}");
        assert_eq!(texts.len(), 10);
        let uids: BTreeSet<u128> = node.told.iter().map(|told| told.uid).collect();
        assert_eq!(uids.len(), 10, "each line has an id of its own");
        let [log] = node.follower.finished().try_into().unwrap();
        assert!(log.complete, "{log:?}");
    }
}

#[test]
fn a_file_that_is_written_anew_with_the_same_long_first_line_is_read_anew() {
    let mut node = Node::new(true);
    node.read();
    node.docker_writes(&(banner(10) + &json("1\\n")));
    node.link_docker("job");
    node.read();
    let path = node.docker_file("");
    let before = fs::metadata(&path).unwrap();
    anew::until_later(&path, &before, || {
        fs::write(&path, banner(11) + &json("2\\n")).unwrap();
    });
    node.read();
    let texts = node.texts();
    assert_eq!((texts.len(), &*texts[1], &*texts[3]), (4, "1", "2"));
    node.end("job");
    node.read();
    node.ack_all();
    let [log] = node.follower.finished().try_into().unwrap();
    assert!(!log.complete && log.accounting.lost_unknown, "{log:?}");
}
