import json
import subprocess
import sys

# Seeds of the 12,000 and more files that were read once: 7, 8.
COUNT = 1000


def test_damaged_and_hostile_files_end_in_the_error():
    """In a process of 1 GiB that must not run anything: no other error, no long wait."""
    command = [sys.executable, "-m", "tests.convert.readers.fuzz", str(COUNT), "0"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr[-2000:]
    ends = json.loads(process.stdout)
    # Much damage hits numbers alone, and is data as any other.
    assert sum(ends.values()) > COUNT
    assert ends["refused"] > COUNT // 2 and ends["read"] > COUNT // 50
