import re

import pytest

from stylegan_jax.plan import hlo

PROGRAM = """HloModule jit_step, is_scheduled=true

%body.1 (arg.1: (f32[4], s32[])) -> (f32[4], s32[]) {
  %arg.1 = (f32[4]{0}, s32[]) parameter(0)
  %gte.1 = f32[4]{0} get-tuple-element(%arg.1), index=0
  %fusion.1 = f32[4]{0} fusion(%gte.1), kind=kLoop, calls=%f, cycles=100
  %all-reduce.1 = f32[4]{0} all-reduce(%fusion.1), channel_id=1, to_apply=%add
}

%f (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %add.9 = f32[4]{0} add(%p, %p), cycles=7
}

ENTRY %main.1 (p0: bf16[8,128]) -> f32[4] {
  %p0 = bf16[8,128]{1,0:T(8,128)} parameter(0)
  %fusion.2 = (bf16[8,128]{1,0}, f32[4]{0}) fusion(%p0), kind=kLoop, calls=%f, cycles=1000
  %gte.2 = f32[4]{0} get-tuple-element(%fusion.2), index=1
  %all-gather-start = (f32[4]{0}, f32[16]{0}) all-gather-start(%gte.2), channel_id=2
  %all-gather-done = f32[16]{0} all-gather-done(%all-gather-start)
  %all-reduce-start = (f32[4]{0}, bf16[8,128]{1,0}) all-reduce-start(%gte.2, %p0)
  %all-reduce-done = (f32[4]{0}, bf16[8,128]{1,0}) all-reduce-done(%all-reduce-start)
  %while.1 = (f32[4]{0}, s32[]) while(%tuple), condition=%c, body=%body.1, trips=3
  ROOT %copy.1 = f32[4]{0} copy(%gte.2), cycles=10
}
"""
# The compiler's notes, written out.
TEXT = re.sub(r"cycles=(\d+)", r'backend_config={"estimated_cycles":"\1"}', PROGRAM)
TEXT = re.sub(r"trips=(\d+)", r'backend_config={"known_trip_count":{"n":"\1"}}', TEXT)


def test_collectives_are_counted_once_with_what_they_give_back():
    assert hlo.collectives(TEXT) == {
        "all-gather": {"count": 1, "bytes": 64},
        "all-reduce": {"count": 2, "bytes": 16 + 16 + 8 * 128 * 2},
    }


def test_cycles_are_those_of_the_entry_with_loops_unrolled():
    assert hlo.scheduled_cycles(TEXT) == 1000 + 3 * 100 + 10


def test_traffic_is_what_instructions_read_and_write():
    image, vector, gathered = 8 * 128 * 2, 16, 64
    fusion = image + (image + vector)
    gather = vector + (vector + gathered) + (vector + gathered) + gathered
    reduce = 2 * (vector + image) + 2 * (vector + image)
    loop = vector + 4
    assert hlo.memory_traffic(TEXT) == fusion + gather + reduce + loop + 2 * vector


def test_a_text_without_an_entry_is_an_error():
    with pytest.raises(StopIteration):
        hlo.scheduled_cycles("HloModule empty")
