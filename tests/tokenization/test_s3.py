"""Images from an S3 bucket, output into another: the same bytes as on a disk. The server is moto's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from v2l.errors import V2LError
from v2l.tokenization.run import Summary
from v2l.tokenization.verify import verify

pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")

Start = Callable[..., Summary]


@pytest.fixture(scope="module")
def s3(pictures: Path) -> Iterator[None]:
    """A server with the bucket `photographs`, which holds the pictures, and the empty bucket `tokens`."""
    import s3fs

    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        bucket = s3fs.S3FileSystem(skip_instance_cache=True)
        bucket.mkdir("photographs")
        bucket.mkdir("tokens")
        bucket.put(f"{pictures}/", "photographs/", recursive=True)
        yield
    server.stop()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bucket_gives_the_bytes_of_a_disk(
    workers: int, s3: None, run: Start, pictures: Path, tmp_path: Path
) -> None:
    assert run(pictures, tmp_path / "out").images == 21
    expected = json.loads((tmp_path / "out" / "summary.json").read_text())
    out = f"s3://tokens/{workers}"
    summary = run("s3://photographs", out, workers=workers)
    assert (summary.images, summary.sha256) == (21, expected["sha256"])
    assert run("s3://photographs", out, workers=workers).resumed == 5
    assert verify(out).problems == []


def test_a_run_that_was_stopped_goes_on_in_a_bucket(s3: None, run: Start, tmp_path: Path) -> None:
    import s3fs

    run("s3://photographs", "s3://tokens/stopped")
    bucket = s3fs.S3FileSystem(skip_instance_cache=True)
    before = {name: bucket.cat(name) for name in bucket.glob("tokens/stopped/part-*.parquet")}
    lost = sorted(before)[1]
    bucket.rm(lost)
    for name in bucket.glob("tokens/stopped/**/*"):
        if "000001" in name or name.endswith("summary.json"):
            bucket.rm(name)
    summary = run("s3://photographs", "s3://tokens/stopped")
    assert summary.resumed == 4
    assert {name: bucket.cat(name) for name in before} == before


@pytest.mark.parametrize(
    ("place", "output"),
    [("s3://no-such-bucket", "s3://tokens/a"), ("s3://photographs", "s3://no-such-bucket/a")],
)
def test_a_bucket_that_does_not_exist_is_one_line(s3: None, run: Start, place: str, output: str) -> None:
    with pytest.raises(V2LError, match="no-such-bucket"):
        run(place, output)
