"""What the archive changed since a dandiset was pinned."""

import json

import pytest
import yaml
from archive import LoopbackArchive, status

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.sources.archive_diff import diff_dandiset
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
from nwb_latents.schemas.catalog import AssetPin, DandisetEntry

ID = "000999"
OLD, PINNED, NEW = "0.230101.900", "0.230101.1000", "0.250101.0000"
FILES = {"sub-A/a.nwb": b"a", "sub-A/b.nwb": b"b", "sub-A/c.nwb": b"c"}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def known(version, pins=()):
    return DandisetEntry(title="t", version=version, layout="generic", tasks=(), pins=tuple(pins))


def diff(archive, entry, **options):
    policy = RetryPolicy(attempts=2, retry_wait_s=0.01)
    return diff_dandiset(entry, ID, **{"instance": archive.url, "policy": policy, **options})


def pins_of(archive, name=ID):
    return [
        AssetPin(path=a.path, asset_id=a.asset_id, sha256=a.sha256, size=a.size)
        for a in archive.dandisets[name].versions["draft"]
    ]


def changes(found):
    return {file.path: file.change for file in found.changes}


def test_newest_version_that_is_pinned_is_unchanged():
    with LoopbackArchive({ID: {OLD: FILES, PINNED: FILES, "draft": {}}}) as archive:
        found = diff(archive, known(PINNED))
        assert found.is_unchanged
        assert found.newer == ()
        assert not archive.requested("*/assets/")


def test_newer_versions_are_named_and_the_newest_is_compared():
    newest = {"sub-A/a.nwb": b"a", "sub-A/b.nwb": b"other", "sub-B/d.nwb": b"d"}
    with LoopbackArchive({ID: {OLD: FILES, PINNED: FILES, NEW: newest, "draft": {}}}) as archive:
        found = diff(archive, known(OLD))
        assert found.newer == (PINNED, NEW)
        assert found.compared == NEW
        assert changes(found) == {
            "sub-A/a.nwb": "id",
            "sub-A/b.nwb": "content",
            "sub-A/c.nwb": "removed",
            "sub-B/d.nwb": "added",
        }
        assert not archive.requested("/blob/*")


def test_assets_carried_over_to_the_newer_version_are_unchanged():
    with LoopbackArchive({ID: {PINNED: FILES, NEW: {}, "draft": {}}}) as archive:
        versions = archive.dandisets[ID].versions
        versions[NEW] = list(versions[PINNED])
        found = diff(archive, known(PINNED))
        assert found.newer == (NEW,)
        assert found.changes == ()
        assert not found.is_unchanged


def test_pinned_version_that_is_gone_is_noted():
    with LoopbackArchive({ID: {NEW: FILES, "draft": {}}}) as archive:
        found = diff(archive, known(PINNED))
        assert found.notes == (f"The pinned version {PINNED} is no longer in the archive, which has: {NEW}.",)
        assert found.newer == (NEW,)


def test_draft_as_it_was_pinned_is_unchanged():
    with LoopbackArchive({ID: {"draft": FILES}}) as archive:
        assert diff(archive, known("draft", pins_of(archive))).is_unchanged


def test_changes_of_a_draft_are_told_file_by_file():
    with LoopbackArchive({ID: {"draft": FILES}}) as archive:
        entry = known("draft", pins_of(archive))
        archive.replace(ID, "draft", "sub-A/a.nwb", b"longer")
        archive.replace(ID, "draft", "sub-A/b.nwb", b"x")
        assets = archive.dandisets[ID].versions["draft"]
        assets[:] = [a for a in assets if a.path != "sub-A/c.nwb"]
        archive.dandisets[ID].versions["draft"].append(
            type(assets[0]).of(ID, "draft", "sub-A/new.nwb", b"new")
        )
        found = diff(archive, entry)
        assert changes(found) == {
            "sub-A/a.nwb": "content",
            "sub-A/b.nwb": "content",
            "sub-A/c.nwb": "removed",
            "sub-A/new.nwb": "added",
        }
        first = found.changes[0]
        assert (first.before.size, first.after.size) == (1, 6)
        assert found.count("content") == 2


def test_same_content_under_another_id_is_no_change_of_content():
    with LoopbackArchive({ID: {"draft": FILES}}) as archive:
        entry = known("draft", pins_of(archive))
        for path, sha256 in (("sub-A/a.nwb", ...), ("sub-A/b.nwb", None)):
            asset = archive.asset(ID, "draft", path)
            asset.asset_id = asset.asset_id[::-1]
            asset.sha256 = asset.sha256 if sha256 is ... else sha256
        assert changes(diff(archive, entry)) == {"sub-A/a.nwb": "id", "sub-A/b.nwb": "unknown"}


def test_draft_that_was_published_since_names_the_version():
    with LoopbackArchive({ID: {NEW: FILES, "draft": FILES}}) as archive:
        found = diff(archive, known("draft", pins_of(archive)))
        assert (found.newer, found.changes) == ((NEW,), ())


def test_draft_without_pins_has_nothing_to_compare():
    with LoopbackArchive({ID: {"draft": FILES}}) as archive:
        found = diff(archive, known("draft"))
        assert found.compared is None
        assert found.notes == ("No file of the draft is pinned, so there is nothing to compare.",)


def test_all_pages_are_compared():
    files = {f"sub-A/{i:03d}.nwb": b"x" for i in range(230)}
    with LoopbackArchive({ID: {"draft": files}}) as archive:
        pins = pins_of(archive)
        assert diff(archive, known("draft", pins)).is_unchanged
        assert len(diff(archive, known("draft", pins[:5])).changes) == 225


def test_failures_say_what_to_do():
    with LoopbackArchive({ID: {"draft": FILES}}, embargoed=[ID]) as archive:
        with pytest.raises(SettingsError, match="environment variable MY_KEY"):
            diff(archive, known("draft"), token_env="MY_KEY")
        assert diff(archive, known("draft"), token="good-token").dandiset == ID
    with LoopbackArchive({"000001": {"draft": {}}}) as archive:
        with pytest.raises(DataError, match=f"Dandiset {ID}: not found"):
            diff(archive, known("draft"))
        archive.fault("/api/info/", status(503), times=None)
        with pytest.raises(MachineError, match="cannot be reached"):
            diff(archive, known("draft"))


def words(archive, *more):
    return ("catalog", "diff", "--instance", archive.url, *more)


def test_the_command_reports_changes_and_ends_with_0(pipeline_command, tmp_path):
    with LoopbackArchive({ID: {PINNED: FILES, "draft": FILES}, "000998": {"draft": FILES}}) as archive:
        entries = {
            ID: known(PINNED).model_dump(mode="json") | {"archive": archive.url},
            "000998": known("draft", pins_of(archive, "000998")).model_dump(mode="json")
            | {"archive": f"{archive.url}/api/"},
        }
        (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"dandisets": entries}))
        archive.replace("000998", "draft", "sub-A/b.nwb", b"other")
        archive.dandisets["000998"].versions["draft"].pop(0)
        shown = pipeline_command(*words(archive, "--json"))
        assert shown.returncode == 0, shown.stderr
        events = {e["dandiset"]: e for e in map(json.loads, shown.stdout.splitlines())}
        assert events[ID]["status"] == "unchanged"
        assert (events["000998"]["status"], events["000998"]["removed"]) == ("changed", 1)
        change = next(c for c in events["000998"]["changes"] if c["path"] == "sub-A/b.nwb")
        assert (change["change"], change["before"]["size"], change["after"]["size"]) == ("content", 1, 5)
        table = pipeline_command(*words(archive, "--dandiset", "000998"))
        assert table.returncode == 0
        assert "sub-A/b.nwb" in table.stdout


def test_pins_of_one_archive_say_nothing_of_another(pipeline_command, tmp_path):
    with LoopbackArchive({ID: {PINNED: FILES, "draft": FILES}}) as archive:
        entry = known(PINNED).model_dump(mode="json")
        (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"dandisets": {ID: entry}}))
        shown = pipeline_command(*words(archive))
        assert shown.returncode == 4
        assert f"pins no dandiset of {archive.url}" in shown.stderr
        assert archive.requests == []


def test_two_versions_of_a_dandiset_are_compared(pipeline_command):
    newest = {"sub-A/a.nwb": b"a", "sub-A/b.nwb": b"other", "sub-B/d.nwb": b"d"}
    with LoopbackArchive({ID: {OLD: FILES, PINNED: newest, NEW: {}, "draft": FILES}}) as archive:
        pair = ("--dandiset", f"{ID}@{OLD}", "--dandiset", f"{ID}@{PINNED}")
        (event,) = map(json.loads, pipeline_command(*words(archive, *pair, "--json")).stdout.splitlines())
        assert (event["pinned"], event["compared"], event["newer"]) == (OLD, PINNED, [PINNED, NEW])
        assert (event["added"], event["removed"], event["content"]) == (1, 1, 1)
        with_draft = ("--dandiset", f"{ID}@draft", "--dandiset", f"{ID}@{NEW}")
        (event,) = map(
            json.loads, pipeline_command(*words(archive, *with_draft, "--json")).stdout.splitlines()
        )
        assert (event["compared"], event["removed"]) == (NEW, 3)
        third = (*pair, "--dandiset", f"{ID}@draft")
        shown = pipeline_command(*words(archive, *third))
        assert shown.returncode == 2
        assert f"--dandiset {ID}@OLD --dandiset {ID}@NEW" in shown.stderr
        gone = ("--dandiset", f"{ID}@{OLD}", "--dandiset", f"{ID}@0.1.1")
        shown = pipeline_command(*words(archive, *gone))
        assert shown.returncode == 4
        assert "has no version 0.1.1" in shown.stderr


def test_the_command_compares_with_the_version_it_is_given(pipeline_command):
    with LoopbackArchive({ID: {OLD: FILES, NEW: {}, "draft": {}}}) as archive:
        shown = pipeline_command(*words(archive, "--dandiset", f"{ID}@{OLD}", "--json"))
        (event,) = map(json.loads, shown.stdout.splitlines())
        assert (event["newer"], event["removed"]) == ([NEW], 3)


def test_one_dandiset_that_is_gone_does_not_hide_the_others(pipeline_command):
    with LoopbackArchive({ID: {PINNED: FILES, "draft": {}}}) as archive:
        both = ("--dandiset", f"{ID}@{PINNED}", "--dandiset", "000123@draft")
        shown = pipeline_command(*words(archive, *both, "--json"))
        assert shown.returncode == 3
        status_of = {e["dandiset"]: e["status"] for e in map(json.loads, shown.stdout.splitlines())}
        assert status_of == {ID: "unchanged", "000123": "failed"}


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--dandiset", f"{ID}@draft"), 5, "cannot be reached"),
        (("--dandiset", ID), 4, f"--dandiset {ID}@VERSION"),
        ((), 4, "pins no dandiset"),
    ],
)
def test_the_command_says_what_is_wrong(pipeline_command, more, code, says):
    shown = pipeline_command("catalog", "diff", "--instance", "http://127.0.0.1:9", *more)
    assert shown.returncode == code, shown.stderr
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr
