"""How long a standby takes to act after the leader ended, in order or by a kill."""

import statistics
import time


def failovers(run, world, patience):
    if world.c.leader_election is None:
        return {}
    took, standby_mb, requests = {"stopped": [], "killed": []}, [], []
    replica = 0
    leader = world.operator(f"replica-{replica}", elected=True)
    world.first_call_of_new_policy("led", patience, leader)
    for number, how in enumerate(["stopped"] * run.args.failovers + ["killed"] * run.args.failovers):
        replica += 1
        standby = world.operator(f"replica-{replica}", elected=True)
        leader.wait_quiet(patience)
        standby.wait_quiet(patience)
        standby_mb.append(standby.memory()["VmRSS"])
        with world.counting() as counted:
            since = time.time()
            leader.stop(grace=25 if how == "stopped" else 0)
            took[how].append(world.first_call_of_new_policy(f"led-{number}", patience, standby) - since)
            world.wait_settled(standby, counted, patience)
        requests.append(counted.total())
        leader = standby
    leader.stop()
    return {**{f"{how}_s": statistics.median(samples) for how, samples in took.items() if samples},
            **{f"{how}_worst_s": max(samples) for how, samples in took.items() if samples},
            "standby_rss_mb": statistics.median(standby_mb), "requests_total": statistics.median(requests)}
