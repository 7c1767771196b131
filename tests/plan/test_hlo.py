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


def program(*lines, more="", header="num_partitions=16"):
    """A program of genuine instructions, as dumped but for metadata and operands."""
    body = "\n".join(f"  {line}" for line in lines)
    return f"HloModule jit_phase_Dmain, {header}\n{more}\nENTRY %main () -> f32[] {{\n{body}\n}}\n"


def test_collectives_are_counted_with_what_they_give_back():
    """The loop of three runs has one of the all-reduces."""
    reduced, gathered = 3 * 16 + 16 + 8 * 128 * 2, 64
    assert hlo.collectives(TEXT.replace("is_scheduled=true", "num_partitions=4")) == {
        "all-gather": {"count": 1, "bytes": gathered, "wire_bytes": gathered * 3 / 4},
        "all-reduce": {"count": 4, "bytes": reduced, "wire_bytes": reduced * 2 * 3 / 4},
    }


GATHER = (
    "f32[3,3,512,512]{3,2,1,0:T(8,128)} all-gather(%param_0.7364), channel_id=52, replica_groups="
    "mesh['axis_0'=1,'axis_1'=1,'axis_2'=4,'axis_3'=1,'axis_4'=4], device_ids=([4,4]T(1,0)) "
    "{'axis_2'}, dimensions={2}, use_global_device_ids=true, frontend_attributes={chain_id=\"8\"}"
)


def test_the_parts_of_an_asynchronous_collective_are_one():
    fusions = "".join(
        f"\n%async_collective_fusion.{i} (param_0.7364: f32[3,3,128,512]) -> f32[3,3,512,512] {{\n"
        f"  ROOT %all-gather.{i} = {GATHER}\n}}\n"
        for i in range(3)
    )
    calls = [
        f"%fusion.{i} = f32[4]{{0}} fusion(%p), kind=kCustom, calls=%async_collective_fusion.{i}"
        for i in range(3)
    ]
    (message,) = hlo.messages(program(*calls, more=fusions))
    size = 3 * 3 * 512 * 512 * 4
    # A column of 4x4, counted along rows.
    assert message == hlo.Message("all-gather", size, size * 3 / 4, (0, 1, 2, 3), 1)
    # Another chain on the same channel is another collective, as is what has no chain.
    others = ["%b = " + GATHER.replace('"8"', '"9"')]
    others += [f"%{name} = " + GATHER.replace("chain_id", "other") for name in "cd"]
    assert len(hlo.messages(program(*calls, *others, more=fusions))) == 4


@pytest.mark.parametrize(
    ("groups", "first"),
    [
        ("replica_groups={{0,1,2,3},{4,5,6,7}}", (0, 1, 2, 3)),
        ("replica_groups={{0,2},{1,3}}", (0, 2)),
        ("replica_groups={}", tuple(range(16))),
        ("replica_groups=[8,2]<=[16]", (0, 1)),
        ("replica_groups=[4,4]<=[4,4]T(1,0)", (0, 4, 8, 12)),
        ("replica_groups=[1,16]<=[16]", tuple(range(16))),
        ("replica_groups=mesh['axis_0'=16] {'axis_0'}", tuple(range(16))),
        ("replica_groups=mesh['axis_0'=4,'axis_1'=2,'axis_2'=2] {'axis_1'}", (0, 2)),
        (
            "replica_groups=mesh['axis_0'=2,'axis_1'=2,'axis_2'=4] {'axis_0','axis_2'}",
            (0, 1, 2, 3, 8, 9, 10, 11),
        ),
        (
            "replica_groups=mesh['axis_0'=4,'axis_1'=1,'axis_2'=4], device_ids=([4,4]T(1,0)) "
            "{'axis_0'}",
            (0, 1, 2, 3),
        ),
    ],
)
def test_groups_are_read_in_every_notation(groups, first):
    line = f"%all-reduce.1 = f32[6]{{0}} all-reduce(%p), channel_id=1, {groups}, to_apply=%add"
    (message,) = hlo.messages(program(line))
    assert message.group == first
    assert message.wire_bytes == pytest.approx(24 * 2 * (len(first) - 1) / len(first))


@pytest.mark.parametrize(
    ("instruction", "given", "sent"),
    [
        ("f32[8,4]{1,0} all-gather(%p), channel_id=1, replica_groups=[4,4]<=[16]", 128, 96),
        ("f32[8,4]{1,0} reduce-scatter(%p), channel_id=1, replica_groups=[4,4]<=[16]", 128, 384),
        ("(f32[8]{0}, f32[8]{0}) all-to-all(%p, %q), replica_groups={{0,1},{2,3}}", 64, 32),
        (
            "f32[4719616]{0} all-reduce-start(%wrapped_concatenate.3), channel_id=60, "
            "replica_groups=mesh['axis_0'=8,'axis_1'=1] {'axis_0'}, use_global_device_ids=true",
            4719616 * 4,
            4719616 * 4 * 7 / 4,
        ),
        (
            "(bf16[8,1,4,512]{3,0,2,1:T(8,128)(2,1)}, bf16[8,1,4,512]{3,0,2,1:T(8,128)(2,1)}, "
            "u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%get-tuple-element.370), "
            "channel_id=4, source_target_pairs={{0,1},{2,3},{4,5}}",
            8 * 4 * 512 * 2,
            8 * 4 * 512 * 2,
        ),
        (
            "((f32[8]{0}, s8[4]{0}), (f32[8]{0}, s8[4]{0}), u32[]{:S(2)}, u32[]{:S(2)}) "
            "collective-permute-start(%a, %b), channel_id=4, source_target_pairs={{0,1}}",
            36,
            36,
        ),
        (
            "(f32[576,8,128]{2,1,0:T(8,128)}, u32[]{:S(2)}, token[]) send(%bitcast.4, "
            "%after-all.1), channel_id=4, is_host_transfer=true, frontend_attributes={"
            '_xla_host_transfer_handler_name="xla_megascale_runtime",_xla_megascale_target='
            '"{1,2,3,4}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}',
            576 * 8 * 128 * 4,
            576 * 8 * 128 * 4 * 3 / 2,
        ),
        (
            "(f32[2,8,128]{2,1,0}, u32[]{:S(2)}, token[]) send(%a, %b), channel_id=4, "
            'is_host_transfer=true, frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",'
            '_xla_megascale_transfer_type="ALL_GATHER"}',
            8192,
            8192,
        ),
    ],
)
def test_each_kind_gives_and_sends(instruction, given, sent):
    (message,) = hlo.messages(program(f"%x = {instruction}"))
    assert (message.num_bytes, message.wire_bytes) == (given, sent)


def test_what_is_received_or_done_is_not_counted_again():
    lines = [
        "%recv = (f32[2]{0}, u32[]{:S(2)}, token[]) recv(%after-all), channel_id=1",
        "%recv-done = (f32[2]{0}, token[]) recv-done(%recv), channel_id=1",
        "%send-done = token[] send-done(%send), channel_id=3, is_host_transfer=true",
        "%all-reduce-done.2 = f32[4]{0} all-reduce-done(%all-reduce-start.2)",
        # To the host, not to another slice.
        "%send = (f32[4]{0}, u32[]{:S(2)}, token[]) send(%p, %q), is_host_transfer=true",
    ]
    assert hlo.messages(program(*lines)) == []


def test_a_fused_all_reduce_of_which_a_part_is_kept_is_a_reduce_scatter():
    more = """
%all-reduce-scatter.1 (input: f32[8192,512]) -> f32[2064,512] {
  %all-reduce.122 = f32[8256,512]{1,0} all-reduce(%pad.19), replica_groups={{0,1,2,3}}
  ROOT %dynamic-slice.148 = f32[2064,512]{1,0} dynamic-slice(%all-reduce.122, %multiply.455)
}
"""
    line = "%fusion = f32[2064,512]{1,0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1"
    (message,) = hlo.messages(program(line, more=more))
    part = 2064 * 512 * 4
    assert message[:3] == ("reduce-scatter", part, 3 * part)


LOOPS = """
%inner (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %all-reduce.1 = f32[4]{0} all-reduce(%x), channel_id=1, replica_groups=[1,16]<=[16], cycles
}

%outer (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %while.1 = (s32[], f32[4]{0}) while(%t), condition=%c, body=%inner, NOTE
}

%condition (p: (s32[], f32[4])) -> pred[] {
  %constant.2065.clone.2 = s32[]{:T(128)} constant(2)
  ROOT %lt.37 = pred[]{:T(512)} compare(%gte.4697, %constant.2065.clone.2), direction=LT
}

%unknown (p: (s32[], f32[4])) -> pred[] {
  ROOT %lt.38 = pred[] compare(%gte.1, %gte.2), direction=LT
}
"""


@pytest.mark.parametrize(("condition", "times"), [("condition", 10), ("unknown", 5)])
def test_loops_multiply(condition, times):
    """The inner count is noted, as for GPUs; the outer one is read from its condition, or is 1."""
    more = LOOPS.replace("NOTE", 'backend_config={"known_trip_count":{"n":"5"}}')
    more = more.replace("cycles", 'backend_config={"estimated_cycles":"7"}')
    line = f"%while.2 = (s32[], f32[4]) while(%t), condition=%{condition}, body=%outer"
    text = program(line, more=more)
    assert hlo.collectives(text)["all-reduce"]["count"] == times
    assert hlo.scheduled_cycles(text) == 7 * times


def test_branches_and_calls_are_entered():
    more = LOOPS.replace("%inner (", "%a (").replace("%outer (", "%b (").replace("%inner", "%a")
    lines = [
        "%x = f32[4] conditional(%p, %q, %r), branch_computations={%a, %b}",
        "%y = f32[4] call(%q), to_apply=%a",
    ]
    assert hlo.collectives(program(*lines, more=more))["all-reduce"]["count"] == 3


def test_cycles_are_those_of_the_entry_with_loops_unrolled():
    assert hlo.scheduled_cycles(TEXT) == 1000 + 3 * 100 + 10


def test_of_branches_the_longest_counts():
    """An estimate of its own, if there is one, does not: it knows nothing of the branches."""
    choose = "%c = f32[4]{0} conditional(%i, %x, %x), branch_computations={%body.1, %f}, cycles=1"
    choose = choose.replace("cycles=1", 'backend_config={"estimated_cycles":"1"}')
    text = TEXT.replace("  ROOT %copy.1", f"  {choose}\n  ROOT %copy.1")
    assert hlo.scheduled_cycles(text) == 1000 + 3 * 100 + 10 + 100


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
