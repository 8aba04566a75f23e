"""Reaching the archive, with and without a key, and never asking for one on the terminal."""

import os
import subprocess
import sys
import textwrap

import pytest
from archive import reset, stall, status
from archive.sample import DANDISET, NWB, PATH, VERSION

from nwb_latents.pipeline.errors import MachineError, SettingsError

PROGRAM = textwrap.dedent(
    """
    import pathlib, sys
    from nwb_latents.pipeline.errors import PipelineError
    from nwb_latents.pipeline.sources.dandi_archive import DandiSource

    url, token, folder = sys.argv[1:]
    source = DandiSource("000999", instance=url, download_dir=pathlib.Path(folder), token=token)
    try:
        source.assets()
    except PipelineError as error:
        sys.stderr.write(str(error))
        sys.exit(error.exit_code)
    """
)


@pytest.fixture
def embargoed(open_archive):
    return open_archive({DANDISET: {VERSION: {PATH: NWB}}}, embargoed={DANDISET}, tokens={"good-token"})


def test_embargoed_dandiset_without_key_names_the_variable(embargoed, open_source):
    with pytest.raises(SettingsError, match=r"without a key .*environment variable DANDI_API_KEY"):
        open_source(embargoed).assets()


def test_embargoed_dandiset_names_the_variable_the_user_chose(embargoed, open_source):
    with pytest.raises(SettingsError, match="environment variable LAB_KEY"):
        open_source(embargoed, token_env="LAB_KEY").assets()


def test_wrong_key_is_told(embargoed, open_source):
    with pytest.raises(SettingsError, match="refuses the key from DANDI_API_KEY") as caught:
        open_source(embargoed, token="bad-token").assets()
    assert "bad-token" not in str(caught.value)


def test_right_key_opens_and_stays_with_the_archive(embargoed, open_source):
    source = open_source(embargoed, token=" good-token\n")
    assert source.fetch(source.assets()[0]).read_bytes() == NWB
    assert all("authorization" not in request.headers for request in embargoed.requested("/blob/*"))


@pytest.mark.parametrize("stdin", ["closed", "pipe", "terminal"])
@pytest.mark.parametrize("token", ["", "bad-token"])
def test_key_is_never_asked_for(embargoed, tmp_path, stdin, token):
    typed = b"good-token\ngood-token\n"
    if stdin == "terminal":
        keyboard, end = os.openpty()
    else:
        end, keyboard = os.pipe()
    os.write(keyboard, typed)
    command = 'exec "$@" <&-' if stdin == "closed" else 'exec "$@"'
    try:
        done = subprocess.run(
            ["sh", "-c", command, "sh", sys.executable, "-c", PROGRAM, embargoed.url, token, tmp_path],
            stdin=end,
            capture_output=True,
            timeout=30,
            check=False,
        )
        os.set_blocking(end, False)
        assert os.read(end, 100) == typed[: 100 if stdin != "terminal" else len(b"good-token\n")]
    finally:
        os.close(keyboard)
        os.close(end)
    assert done.returncode == SettingsError.exit_code
    assert done.stdout == b""
    assert b"DANDI_API_KEY" in done.stderr
    assert b"Traceback" not in done.stderr


def test_dandi_client_variable_is_not_used_behind_our_back(embargoed, open_source, monkeypatch):
    monkeypatch.setenv("DANDI_API_KEY", "good-token")
    with pytest.raises(SettingsError, match="without a key"):
        open_source(embargoed).assets()


@pytest.mark.parametrize("fault", [status(503), status(502), reset()], ids=lambda f: f.kind)
def test_first_question_is_asked_again(archive, open_source, fault):
    archive.fault("/api/info/", fault, times=2)
    assert len(open_source(archive).assets()) == 1


@pytest.mark.parametrize("fault", [status(503), reset()], ids=lambda f: f.kind)
def test_archive_that_stays_out_of_order_is_the_environment(archive, open_source, fault):
    archive.fault("/api/info/", fault, times=None)
    with pytest.raises(MachineError, match="cannot be reached") as caught:
        open_source(archive).assets()
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("path", ["/api/dandisets/*", "*/assets/"])
def test_archive_that_fails_later_is_the_environment(archive, open_source, path):
    archive.fault(path, status(503), times=None)
    with pytest.raises(MachineError, match="answered with status 503"):
        open_source(archive).assets()


@pytest.mark.parametrize("path", ["/api/info/", "*/assets/"])
def test_stalled_answer_is_asked_for_again(archive, open_source, impatient, path):
    archive.fault(path, stall(after=10))
    assert len(open_source(archive, policy=impatient).assets()) == 1


def test_unreachable_archive_is_the_environment(archive, open_source):
    with pytest.raises(MachineError, match="cannot be reached"):
        open_source(archive, instance="http://127.0.0.1:9").assets()


def test_server_that_is_no_archive_is_told(archive, open_source):
    archive.fault("/api/info/", status(404), times=None)
    with pytest.raises(MachineError, match="cannot be reached"):
        open_source(archive).assets()


@pytest.mark.parametrize("name", ["127.0.0.1:8000", "dandy"])
def test_unknown_name_of_an_archive_lists_the_known(archive, open_source, name):
    with pytest.raises(SettingsError, match=r"http://.* or one of: .*dandi"):
        open_source(archive, instance=name).assets()


@pytest.mark.parametrize("suffix", ["/", "/api", "/api/"])
def test_any_form_of_the_url_is_understood(archive, open_source, suffix):
    assert len(open_source(archive, instance=archive.url + suffix).assets()) == 1


def test_answer_that_is_not_json_is_told(archive, open_source):
    archive.fault("*/assets/", status(200), times=None)
    with pytest.raises(MachineError, match="not understood"):
        open_source(archive).assets()


@pytest.mark.parametrize("target", ["http://[::1", "http://[fe80::1%25]:99999999/x", "//[", "http://h:port/"])
@pytest.mark.parametrize("where", ["/api/info/", "/api/dandisets/*/", "*/assets/", "/api/assets/*/download/"])
def test_being_sent_to_what_is_no_address_is_told(archive, open_source, where, target):
    archive.fault(where, status(302, Location=target), times=None)
    source = open_source(archive)
    with pytest.raises(MachineError, match="which is no address"):
        source.fetch(source.assets()[0])


@pytest.mark.parametrize("target", ["http://[::1", "http://h:port/"])
def test_bytes_that_are_asked_for_at_no_address_are_told(archive, open_source, target):
    archive.fault("/api/assets/*/download/", status(302, Location=target), times=None)
    source = open_source(archive)
    (asset,) = source.assets()
    with pytest.raises(MachineError, match="which is no address"), source.open_stream(asset) as stream:
        stream.read(3)
