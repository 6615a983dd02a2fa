"""What the release promises, each seen to fail where it is broken. deploy/check runs them."""
import hashlib
import io
import json
import os
import pathlib
import struct
import tarfile
import tempfile
import unittest
import unittest.mock

from tools import ROOT, run, tool

from releasing import krew, oci, pinned, sbom, versions

DIGEST = "sha256:" + "1" * 64
IMAGE = f"registry.example/team/ephemon@{DIGEST}"


def program(machine=62, interpreter=False):
    """The head of an ELF program with one program header."""
    head = b"\x7fELF\x02\x01" + bytes(12) + struct.pack("<H", machine) + bytes(12)
    head += struct.pack("<Q", 64) + bytes(14) + struct.pack("<HH", 56, 1) + bytes(6)
    return head + struct.pack("<I", oci.PT_INTERP if interpreter else 1) + bytes(52)


def folder(scratch, name="programs", **options):
    """What deploy/programs leaves behind."""
    made = pathlib.Path(scratch) / name
    (made / "etc/ssl/certs").mkdir(parents=True)
    (made / "etc/ssl/certs/ca-certificates.crt").write_text("certificates\n")
    for one in oci.PROGRAMS:
        (made / one).write_bytes(program(**options))
        (made / one).chmod(0o755)
    return made


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {one.name: (one, archive.extractfile(one).read() if one.isfile() else b"") for one in archive}


class Images(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name
        self.dockerfile = (ROOT / "deploy/Dockerfile").read_text()
        time = unittest.mock.patch.dict(os.environ, SOURCE_DATE_EPOCH="1700000000")
        time.start()
        self.addCleanup(time.stop)

    def written(self, *folders, name="registry.example/ephemon:1"):
        target = pathlib.Path(self.scratch) / "image.tar"
        return oci.write(folders, name, "abc", self.dockerfile, target), target.read_bytes()

    def refused(self, *folders):
        with self.assertRaises(SystemExit) as refused:
            self.written(*folders)
        return str(refused.exception)

    def test_the_archive_is_a_layout_whose_digests_hold(self):
        digest, data = self.written(folder(self.scratch), folder(self.scratch, "other", machine=183))
        found = members(data)
        self.assertEqual(json.loads(found["oci-layout"][1]), {"imageLayoutVersion": "1.0.0"})
        (top,) = json.loads(found["index.json"][1])["manifests"]
        self.assertEqual((top["digest"], top["annotations"]["io.containerd.image.name"]), (digest, "registry.example/ephemon:1"))
        self.assertEqual(top["annotations"]["org.opencontainers.image.ref.name"], "1")

        def blob(descriptor):
            data = found["blobs/" + descriptor["digest"].replace(":", "/")][1]
            self.assertEqual(f"sha256:{hashlib.sha256(data).hexdigest()}", descriptor["digest"])
            self.assertEqual(len(data), descriptor["size"])
            return data

        images = json.loads(blob(top))["manifests"]
        self.assertEqual([one["platform"]["architecture"] for one in images], ["amd64", "arm64"])
        for one in images:
            manifest = json.loads(blob(one))
            config = json.loads(blob(manifest["config"]))
            layer = oci.gzip.decompress(blob(manifest["layers"][0]))
            self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{hashlib.sha256(layer).hexdigest()}"])
            self.assertEqual(config["architecture"], one["platform"]["architecture"])
            inside = members(layer)
            self.assertEqual((inside["ephemon"][0].mode, inside["ephemon"][0].uid), (0o755, 0))
            self.assertEqual(inside["etc/ssl/certs/ca-certificates.crt"][0].mode, 0o644)
            self.assertEqual({one.mtime for one, _ in inside.values()}, {1700000000})

    def test_the_configuration_is_what_the_dockerfile_says(self):
        config = oci.configuration(self.dockerfile, {"EPHEMON_REVISION": "abc"})
        self.assertEqual((config["User"], config["Entrypoint"], config["Env"]), ("65532:65532", ["/ephemon"], ["PATH=/", "MALLOC_ARENA_MAX=1"]))
        self.assertEqual(config["Labels"]["org.opencontainers.image.revision"], "abc")
        self.assertEqual(config["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0")
        with self.assertRaisesRegex(SystemExit, "has VOLUME"):
            oci.configuration(self.dockerfile + "VOLUME /data\n", {})

    def test_the_same_files_give_the_same_bytes(self):
        first = self.written(folder(self.scratch))
        other = folder(self.scratch, "again")
        for path in other.rglob("*"):
            os.utime(path, (1, 1))
        self.assertEqual(self.written(other), first)

    def test_programs_that_no_image_could_run_are_refused(self):
        self.assertIn("not static", self.refused(folder(self.scratch, "dynamic", interpreter=True)))
        self.assertIn("unknown", self.refused(folder(self.scratch, "foreign", machine=40)))
        mixed = folder(self.scratch, "mixed")
        (mixed / "ephemon-init").write_bytes(program(machine=183))
        self.assertIn("must have programs for one of", self.refused(mixed))
        (mixed / "ephemon-init").write_text("#!/bin/sh\n")
        self.assertIn("is no program", self.refused(mixed))
        (mixed / "ephemon-init").unlink()
        self.assertIn("is missing", self.refused(mixed))
        linked = folder(self.scratch, "linked")
        (linked / "link").symlink_to("ephemon")
        self.assertIn("neither a file nor a directory", self.refused(linked))
        self.assertIn("same processor", self.refused(folder(self.scratch, "one"), folder(self.scratch, "two")))


class Packages(unittest.TestCase):
    def test_chart_and_manifests_name_one_digest_and_are_the_same_twice(self):
        image = pinned.Image(IMAGE)
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            paths = [pinned.package(image, "registry.example/charts", target) for target in (first, second)]
            for one, other in zip(*paths):
                self.assertEqual(one.read_bytes(), other.read_bytes(), one.name)
            wrong, rendered = pinned.verify(image, first)
            self.assertEqual(wrong, [])
            self.assertGreater(rendered, 30)
            chart = paths[0][0]
            readme, = (data for name, (_, data) in members(oci.gzip.decompress(chart.read_bytes())).items() if name == "ephemon/README.md")
            self.assertIn(b"oci://registry.example/charts/ephemon --version", readme)
            self.assertNotIn(b"](../", readme)
            self.copied(first, paths[0][1])

    def copied(self, scratch, manifests):
        """A copy of the image in a registry of one's own, as the base's comment says."""
        pinned.extract(manifests, scratch)
        base = pathlib.Path(scratch) / manifests.name.removesuffix(".tar.gz") / "deploy/kustomize/base"
        said, = (line.removeprefix("#   ") for line in (base / "kustomization.yaml").read_text().splitlines() if line.startswith("#   images:"))
        own = base.parent / "own"
        own.mkdir()
        (own / "kustomization.yaml").write_text(f"resources: [../base]\n{said}\n")
        code, out, err = run(tool("kustomize"), "build", str(own))
        self.assertEqual(code, 0, err)
        self.assertIn(f"image: REGISTRY/ephemon@{DIGEST}\n", out)

    def test_a_reference_without_a_digest_is_seen_wherever_it_is(self):
        pod = lambda **more: [{"kind": "Pod", "spec": {"containers": [{"name": "a", "image": IMAGE}], **more}}]
        image = pinned.Image(IMAGE)
        self.assertEqual(pinned.unpinned("x", pod(), image), [])
        for more in (
            {"initContainers": [{"name": "b", "image": "busybox:1"}]},
            {"volumes": [{"name": "v", "image": {"reference": "registry:5000/a"}}]},
            {"containers": [{"name": "a", "image": "registry.example/team/ephemon:0.1.0"}]},
            {"containers": [{"name": "a", "image": f"elsewhere.example/ephemon@{DIGEST}"}]},
        ):
            self.assertEqual(len(pinned.unpinned("x", pod(**more), image)), 1, more)
        runner = pod(initContainers=[{"name": "r", "image": pinned.FOREIGN}])
        self.assertEqual(pinned.unpinned("deploy/hook/values.yaml", runner, image), [])
        self.assertEqual(len(pinned.unpinned("base", runner, image)), 1)

    def test_only_a_digest_names_a_release(self):
        for text in ("ephemon:0.1.0", "registry.example/ephemon:0.1.0", f"ephemon@{DIGEST}", f"team/ephemon@{DIGEST}", "registry.example/ephemon@sha256:abc"):
            with self.assertRaises(SystemExit, msg=text):
                pinned.Image(text)
        self.assertEqual(pinned.Image(f"localhost:5000/a/b@{DIGEST}").registry, "localhost:5000")


class Versions(unittest.TestCase):
    def setUp(self):
        self.files = versions.tracked()
        self.version = versions.version()

    def wrong(self, name, old, new, **options):
        self.assertIn(old, self.files[name], name)
        return "\n".join(versions.check(self.files | {name: self.files[name].replace(old, new)}, **options))

    def test_this_repository_agrees(self):
        self.assertEqual(versions.check(self.files), [])

    def test_a_version_that_differs_is_seen_in_each_place(self):
        number = self.version
        for name, old in (
            ("deploy/helm/ephemon/Chart.yaml", f"\nversion: {number}"), ("deploy/helm/ephemon/Chart.yaml", f"\nappVersion: {number}"),
            ("deploy/helm/ephemon/Chart.yaml", f"image: ephemon:{number}"), ("deploy/kustomize/base/kustomization.yaml", f"    newTag: {number}"),
            ("deploy/kustomize/base/kustomization.yaml", f"newTag: {number} }}"), ("README.md", f"ephemon:{number}"), ("deploy/docs/hook.md", f"ephemon:{number}"),
            ("deploy/Dockerfile", f"ephemon:{number}"), ("tests/it/golden/otlp-metrics.txt", f"service.version={number}"),
            ("Cargo.lock", f'name = "ephemon-agent"\nversion = "{number}"'), ("CHANGELOG.md", f"## {number} ("),
            ("deploy/krew/ephemon.yaml", f"version: v{number}"), ("deploy/krew/ephemon.yaml", f"download/v{number}"), ("deploy/krew/ephemon.yaml", f"ephemon-{number}-a"),
        ):
            self.assertIn(f"{name}:", self.wrong(name, old, old.replace(number, "9.9.9")), old)

    def test_an_address_that_differs_is_seen_in_each_place(self):
        for name, old, new in (
            ("deploy/helm/ephemon/Chart.yaml", "github.com/ephemon/", "github.com/other/"), ("deploy/helm/ephemon/Chart.yaml", "home: https://ephemon.dev", "home: https://other"),
            ("deploy/Dockerfile", "github.com/ephemon/", "github.com/other/"), ("SECURITY.md", "ghcr.io/ephemon/", "ghcr.io/other/"),
            ("SECURITY.md", "github.com/ephemon/", "github.com/other/"), ("src/mask/Cargo.toml", "repository.workspace = true\n", ""),
            ("src/mask/Cargo.toml", "description = ", "#"), ("Cargo.toml", "https://github.com/ephemon/ephemon", "https://example.com"),
        ):
            self.assertIn(name, self.wrong(name, old, new), old)

    def test_a_release_needs_its_tag_its_place_its_date_and_pages_that_know_it(self):
        package = versions.workspace(self.files["Cargo.toml"])
        place = package["repository"].removeprefix("https://github.com/")
        ready = {name: versions.UNPUBLISHED.sub("", text) for name, text in self.files.items() if name != "CHANGELOG.md"}
        head = f"## {self.version} ("
        changelog = self.files["CHANGELOG.md"]
        at = changelog.index(head) + len(head)
        ready["CHANGELOG.md"] = changelog[:at] + "2026-01-31" + changelog[changelog.index(")", at) :]
        tag = f"v{self.version}"
        self.assertEqual(versions.release(ready, package, tag, place), [])
        self.assertIn("the tag is v9", versions.release(ready, package, "v9.9.9", place)[0])
        self.assertIn("this is fork/ephemon", versions.release(ready, package, tag, "fork/ephemon")[0])
        undated = ready | {"CHANGELOG.md": ready["CHANGELOG.md"].replace("2026-01-31", "soon")}
        self.assertIn("has no date", versions.release(undated, package, tag, place)[0])
        behind = ready | {"README.md": "Nothing is published yet."}
        self.assertIn("README.md:1: says", versions.release(behind, package, tag, place)[0])

    def test_notes_are_the_versions_own(self):
        notes = versions.notes({"CHANGELOG.md": f"# Changes\n\n## 9.9.9 (2030-01-01)\n\n- new\n\n## {self.version} (not released)\n\n- this\n\n## 0.0.1 (x)\n\n- old\n"})
        self.assertEqual(notes, "- this\n")


class Plugins(unittest.TestCase):
    def test_the_manifest_has_the_checksum_of_each_archive(self):
        with tempfile.TemporaryDirectory() as scratch:
            with self.assertRaisesRegex(SystemExit, "amd64.tar.gz: is not there"):
                krew.write(scratch)
            for architecture in ("amd64", "arm64"):
                (pathlib.Path(scratch) / f"ephemon-{versions.version()}-{architecture}.tar.gz").write_text(architecture)
            text = krew.write(scratch).read_text()
            for architecture in (b"amd64", b"arm64"):
                self.assertIn(hashlib.sha256(architecture).hexdigest(), text)
            self.assertNotIn("SHA256-", text)


class Bills(unittest.TestCase):
    def test_each_program_has_its_crates_and_licences_and_is_the_same_twice(self):
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            made = [sbom.write(target) for target in (first, second)]
            self.assertEqual([path.name for path in made[0]], ["ephemon.cdx.json", "ephemon-hook.cdx.json", "ephemon-init.cdx.json"])
            listed = set()
            for one, other in zip(*made):
                text = one.read_text()
                self.assertEqual(text, other.read_text(), one.name)
                self.assertNotIn("/tmp", text)
                found = json.loads(text)
                own = found["metadata"]["component"]
                self.assertEqual((found["bomFormat"], own["version"]), ("CycloneDX", versions.version()))
                for crate in (own, *found["components"]):
                    listed.add(f"{crate['name']} v{crate['version']}")
                    self.assertTrue(crate["licenses"], crate["name"])
            self.assertEqual(listed, sbom.built())
            # A crate of tests, and one that is optional in another.
            self.assertFalse({line for line in listed if line.startswith(("criterion ", "proptest "))})
