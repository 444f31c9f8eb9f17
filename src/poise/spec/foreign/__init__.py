"""SLO files of other tools, both ways: Sloth, Pyrra, slo-generator and OpenSLO v1alpha in, Sloth's rules out.

``reading`` tells whose a file is and reads it into ``slo.Slo``; ``openslo`` writes that as OpenSLO v1, which
is what Poise itself reads; ``sloth_rules`` writes the Prometheus rules that Sloth would have.
"""
