"""Fleet: the only room with hands. It makes what runs, and who reaches it, agree with what is wanted.

Decides: which replicas start, stop and restart, and how each service's traffic splits.
Reads: Service, Rollout, ScaleTarget, HealOrder, what the keeper runs, what the probes heard, what Envoy
acknowledged. It alone writes Replica and Route, and it alone asks for spawn, stop and traffic.
Never: chooses a weight, judges a release, or kills on its own judgement; without an observation it leaves
everything as it is.
"""
