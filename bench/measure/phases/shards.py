"""Two installations that share the policies by a label: what each of them costs, and that one does not need the other."""

import time

SHARDS = ["even", "odd"]


def shards(world, patience):
    if world.c.shard is None:
        return {}
    out = {}
    with world.counting() as counted:
        operators = {shard: world.operator(f"shard-{shard}", elected=True, SHARD=shard) for shard in SHARDS}
        for shard, operator in operators.items():
            called = world.first_call_of_new_policy(f"shard-{shard}", patience, operator, shard=shard)
            out[f"{shard}_first_call_s"] = called - operator.at
        for shard, operator in operators.items():
            world.wait_settled(operator, counted, patience)
            out[f"{shard}_rss_mb"] = operator.memory()["VmRSS"]
            out[f"{shard}_cpu_s"] = operator.cpu()
    out["requests_total"] = counted.total()
    gone, left = SHARDS
    operators[gone].stop(grace=0)
    since = time.time()
    out["without_the_other_s"] = world.first_call_of_new_policy("shard-left", patience, operators[left], shard=left) - since
    operators[left].stop()
    return out
