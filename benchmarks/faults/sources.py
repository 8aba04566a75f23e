"""Faults of where recordings come from."""

SUMS = "pipeline/sources/checksums.py"
FOLDER = "pipeline/sources/folder.py"
API = "pipeline/sources/archive_api.py"
ACCESS = "pipeline/sources/archive_access.py"
LISTING = "pipeline/sources/archive_listing.py"
RETRY = "pipeline/sources/retry_policy.py"
DANDI = ("tests/archive", "tests/sources/dandi")

FAULTS = (
    (SUMS, "if any(record[name] != value for name, value in _state(path).items()):", "if False:",
     "the digest of a file that has changed is remembered"),
    (SUMS, "for name in sorted(files, key=PurePosixPath):", "for name in files:", "the digest of a folder is of its order"),
    (SUMS, "digest.update(f\"{name}\\0{files[name]}\\n\".encode())", "digest.update(f\"{files[name]}\\n\".encode())",
     "renamed files of a folder are the same"),
    (SUMS, "return {\"size\": stat.st_size, \"mtime_ns\": stat.st_mtime_ns}", "return {\"size\": stat.st_size}",
     "a file of the same size counts as unchanged"),
    (SUMS, "self._part = hashlib.md5(usedforsecurity=False)\n        self._part_bytes = 0\n\n\ndef", "self._part_bytes = 0\n\n\ndef",
     "parts of an etag run into each other"),
    (FOLDER, "if name.startswith(\".\") or path.suffix.lower() != \".nwb\":", "if path.suffix != \".nwb\":",
     "hidden files are read, and those in capitals are not"),
    (FOLDER, "name if names.count(name) == 1 else _text(path.absolute().as_posix()): path", "name: path", "files of one name in two folders are one"),
    (FOLDER, "seen.setdefault(path.resolve(), (path, name))", "seen[path] = (path, name)", "a file that is named twice is ingested twice"),
    (FOLDER, "yield path, verified_digest(path)", "yield path, \"sha256:\" + asset.path", "the digest of a file is its name"),
    (API, "if len({path for path, _ in names}) != len(names):", "if False:", "a file that is listed twice is two sessions", DANDI),
    (API, "if stated is not None and len(names) != stated:", "if False:", "a session that a listing lacks is missing without a word", DANDI),
    (API, "for each in found if each.version != DRAFT}, key=age)", "for each in found if each.version != DRAFT})",
     "versions are ordered as text", DANDI),
    (API, "if found.path == path:", "if found.path.startswith(path):", "another file whose name begins alike is taken", DANDI),
    (API, "return tuple(int(part) for part in version.split(\".\"))", "return tuple(version.split(\".\"))", "0.230101.900 is later than 0.230101.1000"),
    (API, "if tuple(sorted(query.items())) in seen or not page.results:", "if False:", "a listing that goes in circles never ends", DANDI),
    (ACCESS, "return None if self.is_refused or not self.address.takes_key else self._found()", "return self._found()",
     "keys are sent over plain http", DANDI),
    (ACCESS, "return {**self.__dict__, \"_token\": None,", "return {**self.__dict__,", "keys are sent to workers"),
    (LISTING, "asset_id=asset_id or pin.asset_id,", "asset_id=pin.asset_id,", "a pinned file under another id is not found"),
    (LISTING, "is_same = file is not None and file.digest == pin.content_digest", "is_same = file is not None",
     "a file that was replaced in a draft is taken for the pinned one"),
    (RETRY, "2 ** max(failures - 1, 0)", "2", "waits between attempts do not grow"),
    ("pipeline/sources/fetch_or_stream.py", "if stream.failure is not None:\n                raise", "if False:\n                raise",
     "a stream that failed passes for a whole one", ("tests/sources/reading_remotely",)),
    ("pipeline/sources/block_cache.py", "return block[offset:]", "return block", "a block is read from its beginning",
     ("tests/sources/reading_remotely",)),
    ("pipeline/sources/simulator/neurons.py", "-(-n_units // 2)", "n_units", "all simulated units are in M1"),
    ("pipeline/sources/simulator/neurons.py", "hazard = rates / (1 - rates * DEAD_TIME_S)", "hazard = rates",
     "simulated units fire less than their rates",
     ("tests/sources/simulator/test_simulator_neurons.py",)),
)  # fmt: skip
