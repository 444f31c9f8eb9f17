"""The shop's tests: `python3 -m tests.junit` runs them and writes test-results/junit.xml."""
