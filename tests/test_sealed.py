"""JSON files of ours have a checksum: whatever bit is flipped, no other value is read."""

from __future__ import annotations

import pytest

from s3prl_fusion.errors import UsageError
from s3prl_fusion.files import read_json, write_sealed


@pytest.mark.fault(
    "a bit flipped in score.json, run.json, a stamp or member.json",
    "one line with the file, or the stage is done again",
)
def test_a_sealed_file_of_ours_is_what_was_written_or_refused(tmp_path):
    path, value = tmp_path / "score.json", {"score": 12.5, "layers": (0, 1), "none": None, "name": "ä"}
    write_sealed(path, value)
    whole = path.read_bytes()
    assert read_json(path) == {**value, "layers": [0, 1]}
    for place in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read_json(path)
        except UsageError as error:
            assert str(path) in str(error)
        else:  # a blank is as good as a line's end; without the name of its checksum it is as older releases wrote it
            assert {key: found.get(key) for key in value} == {**value, "layers": [0, 1]}
