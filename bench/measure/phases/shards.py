"""Two installations that share the policies by a label: what each of them costs, and that one does not need the other."""

import time

SHARDS = ["even", "odd"]


def shards(world, patience):
    if world.c.shard is None:
        return {}
    out = {}
    with world.counting() as counted:
        operators = {shard: world.operator(f"shard-{shard}", elected=True, SHARD=shard) for shard in SHARDS}
        names = {shard: f"shard-{shard}" for shard in SHARDS}
        world.fake.seed(len(names), list(names.values()))
        for shard, name in names.items():
            world.create(world.body(name, shard=shard))
        for shard, operator in operators.items():
            out[f"{shard}_first_call_s"] = world.fake.first_call(names[shard], patience, operator) - operator.at
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
