"""A key belongs to an archive: it goes there and nowhere else, and into nothing that is sent or written."""

from __future__ import annotations

import pickle

import pytest
import requests
from archive import status
from archive.sample import DANDISET, NWB, PATH, VERSION

from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.sources.archive_access import Access
from nwb_latents.pipeline.sources.archive_address import resolve_archive
from nwb_latents.pipeline.sources.archive_session import ArchiveSession
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
from nwb_latents.pipeline.stages.ingest_plan import Selection
from nwb_latents.pipeline.stages.ingest_session import IngestJob, ingest_session
from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.schemas.recipe import IngestRecipe

KEY = "good-token"


@pytest.fixture
def embargoed(open_archive):
    return open_archive(
        {DANDISET: {VERSION: {PATH: NWB}}}, embargoed={DANDISET}, tokens={KEY}, strangers={"stranger"}
    )


@pytest.fixture
def elsewhere(open_archive):
    return open_archive({DANDISET: {VERSION: {PATH: NWB}}})


def keys_sent(archive):
    return [
        request.headers["authorization"] for request in archive.requests if "authorization" in request.headers
    ]


def variable_of(archive):
    return resolve_archive(archive.url).key_variable


def test_the_key_is_read_from_the_variable_of_the_archive(embargoed, open_source, monkeypatch):
    monkeypatch.setenv(variable_of(embargoed), f" {KEY}\n")
    source = open_source(embargoed)
    assert source.fetch(source.assets()[0]).read_bytes() == NWB


def test_the_key_of_the_main_archive_goes_to_no_other(embargoed, open_source, monkeypatch):
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    with pytest.raises(SettingsError, match=f"without a key .*environment variable {variable_of(embargoed)}"):
        open_source(embargoed).assets()
    assert keys_sent(embargoed) == []


def test_a_key_of_another_user_is_told_as_good_but_not_enough(embargoed, open_source):
    with pytest.raises(SettingsError, match=r"owner of the key from .* \(status 403\).*owners to add"):
        open_source(embargoed, token="stranger").assets()


def test_what_is_public_is_read_without_a_key_that_is_refused(archive, open_source, caplog):
    source = open_source(archive, token="bad-token")
    assert source.fetch(source.assets()[0]).read_bytes() == NWB
    (said,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert "refuses the key" in said
    assert "bad-token" not in said
    assert keys_sent(archive) == ["token bad-token"]


def test_nothing_the_archive_answers_takes_the_key_elsewhere(embargoed, elsewhere, open_source):
    embargoed.tamper(
        "/api/info/", lambda info: {**info, "services": {"api": {"url": f"{elsewhere.url}/api"}}}
    )

    def lead_away(answer):
        answer["metadata"]["contentUrl"] = [f"{elsewhere.url}/api/assets/x/download/", f"{elsewhere.url}/a"]
        return answer

    embargoed.tamper("/api/assets/*/info/", lead_away)
    source = open_source(embargoed, token=KEY)
    (asset,) = source.assets()
    assert source.fetch(asset).read_bytes() == NWB
    with source.open_stream(asset) as stream:
        assert stream.read(3) == NWB[:3]
    assert elsewhere.requests == []


@pytest.mark.parametrize("where", ["/api/info/", "/api/dandisets/*/", "*/assets/", "/api/assets/*/info/"])
def test_a_redirect_elsewhere_is_an_error_and_carries_no_key(embargoed, elsewhere, open_source, where):
    away = status(302, Location=f"{elsewhere.url}/api/dandisets/{DANDISET}/")
    embargoed.fault(where, away, times=None)
    source = open_source(embargoed, token=KEY)
    with pytest.raises(MachineError, match="which is not the archive's own"):
        source.fetch(source.assets()[0])
    assert elsewhere.requests
    assert keys_sent(elsewhere) == []


@pytest.mark.parametrize("where", ["/api/assets/*/download/"])
def test_bytes_that_lie_elsewhere_are_asked_for_without_the_key(embargoed, elsewhere, open_source, where):
    blob = elsewhere.asset(DANDISET, VERSION, PATH).blob_id
    embargoed.fault(where, status(302, Location=f"{elsewhere.url}/../blob/{blob}"), times=None)
    source = open_source(embargoed, token=KEY)
    with pytest.raises(Exception, match="storage at"):
        source.fetch(source.assets()[0])
    assert elsewhere.requests
    assert keys_sent(elsewhere) == []


def test_a_next_page_elsewhere_is_not_asked_for(embargoed, elsewhere, open_source):
    path = f"/api/dandisets/{DANDISET}/versions/{VERSION}/assets/?page=2"
    embargoed.tamper("*/assets/", lambda page: {**page, "next": elsewhere.url + path})
    with pytest.raises(MachineError, match="not this listing's address"):
        open_source(embargoed, token=KEY).assets()
    assert elsewhere.requests == []


def test_a_web_page_of_an_archive_names_its_interface_and_gets_no_key(open_archive, elsewhere, open_source):
    page = open_archive({})
    page.fault("/api/info/", status(404), times=None)
    page.fault(
        "/server-info", replace_body({"services": {"api": {"url": f"{elsewhere.url}/api"}}}), times=None
    )
    with pytest.raises(MachineError, match=f"give --instance {elsewhere.url}/api if you trust it"):
        open_source(page, token=KEY).assets()
    assert elsewhere.requests == []


def replace_body(content):
    import json

    from archive import body

    return body(json.dumps(content).encode())


def test_a_key_is_not_sent_over_plain_http(monkeypatch):
    sent = []

    def send(adapter, request, **_):
        sent.append(request)
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 401, request.url, request
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    for url, is_sent in (("http://archive.lab.org", False), ("https://archive.lab.org", True)):
        access = Access(url, token=KEY)
        session = ArchiveSession(access, policy=RetryPolicy(attempts=1)).requests
        session.get(f"{url}/api/info/", stream=True)
        assert ("Authorization" in sent[-1].headers) is is_sent
        for other in ("http://archive.lab.org/", "https://archive.lab.org:8443/", "https://lab.org/"):
            session.get(other, stream=True)
            assert "Authorization" not in sent[-1].headers
    http = Access("http://archive.lab.org", token=KEY)
    said = str(http.refused("Dandiset 000999", 401))
    assert "not sent over plain http" in said
    assert "--instance https://archive.lab.org" in said


def test_a_key_is_in_nothing_that_is_sent_to_workers(embargoed, open_source, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    for options in ({"token": KEY}, {"token_env": "MY_KEY"}):
        source = open_source(embargoed, **options)
        source.assets()
        assert KEY.encode() not in pickle.dumps(source)
        assert KEY not in repr(vars(source))


def job_of(source, folder):
    place = StoreLocation.parse("stores", base=folder)
    return IngestJob(source, IngestRecipe(), Selection(), folder / "catalog.yaml", place)


def test_a_worker_reads_its_own_environment(embargoed, open_source, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    source = open_source(embargoed, token_env="MY_KEY")
    (asset,) = source.assets()
    sent = pickle.dumps(job_of(source, tmp_path))
    assert pickle.loads(sent).source.fetch(asset).read_bytes() == NWB
    monkeypatch.delenv("MY_KEY")
    (tmp_path / "downloads").rename(tmp_path / "elsewhere")
    outcome = ingest_session(pickle.loads(sent), asset, lambda _: None)
    assert outcome.status == "failed"
    assert "MY_KEY is not set on" in outcome.reason
    assert "for the workers" in outcome.reason


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://api.dandiarchive.org", "https://api.dandiarchive.org"),
        ("https://api.dandiarchive.org/api", "https://api.dandiarchive.org"),
        ("HTTPS://API.DANDIARCHIVE.ORG:443/api/", "https://api.dandiarchive.org"),
        ("https://dandiarchive.org/", "https://api.dandiarchive.org"),
        ("dandi", "https://api.dandiarchive.org"),
        ("https://lab.org/archive/api/", "https://lab.org/archive"),
        ("http://lab.org:80/", "http://lab.org"),
        ("http://lab.org:8000/", "http://lab.org:8000"),
    ],
)
def test_an_archive_is_known_by_one_address(url, known):
    assert resolve_archive(url).url == known


@pytest.mark.parametrize("url", ["http://", "http://[", "https://user:secret@lab.org", "http://lab.org:port"])
def test_a_url_that_is_none_is_told_without_what_is_secret_in_it(url):
    with pytest.raises(SettingsError, match="Give https://HOST") as caught:
        resolve_archive(url)
    assert "secret" not in str(caught.value)
