"""Run the tests and write their results as JUnit XML, with the standard library alone."""

import sys
import time
import unittest
from pathlib import Path
from xml.etree import ElementTree

REPORT = Path("test-results/junit.xml")


class Timed(unittest.TextTestResult):
    """Remembers how each test ended and how long it took."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = []

    def startTest(self, test):
        self.began = time.perf_counter()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        self.cases.append((test, time.perf_counter() - self.began))


def report(result):
    suite = ElementTree.Element("testsuite", name="shop", tests=str(result.testsRun))
    suite.set("failures", str(len(result.failures)))
    suite.set("errors", str(len(result.errors)))
    suite.set("skipped", str(len(result.skipped)))
    outcomes = {"failure": result.failures, "error": result.errors, "skipped": result.skipped}
    for test, took_s in result.cases:
        group, _, name = test.id().rpartition(".")
        case = ElementTree.SubElement(suite, "testcase", classname=group, name=name, time=f"{took_s:.3f}")
        for outcome, pairs in outcomes.items():
            for _, text in (pair for pair in pairs if pair[0] is test):
                ElementTree.SubElement(case, outcome).text = text
    return ElementTree.ElementTree(suite)


def main():
    tests = unittest.defaultTestLoader.discover("tests", top_level_dir=".")
    result = unittest.TextTestRunner(resultclass=Timed, verbosity=2).run(tests)
    REPORT.parent.mkdir(exist_ok=True)
    report(result).write(REPORT, encoding="utf-8", xml_declaration=True)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
