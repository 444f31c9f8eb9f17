"""The ledger of a budget: each unit that was spent, with its dates and who spent it.

It decides the entries of each objective, whose one writer it is: episodes of spend and what each is charged
to; it reads counts by the minute, rollouts, incidents and the ledgers of dependencies; it never changes a
budget, and never charges anybody by less than an even chance.
"""
