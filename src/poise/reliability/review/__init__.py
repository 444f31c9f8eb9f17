"""Review: the post-mortem of an incident, drafted from the record, finished by people.

Decides: a Review once an incident is resolved, each of its sentences with the ids of its evidence; then what
people make of it (text, actions, publication). Reads: Incident, Diagnosis, the journal, Budget, Objective,
the counters of what users got, ReviewEdit. Writes Review. Never: writes a sentence without evidence, names a
lesson that nobody drew, or touches a text that a person has edited.
"""
