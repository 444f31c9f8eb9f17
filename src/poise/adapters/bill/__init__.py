"""The bill of materials (SBOM) of a release: read from the lockfiles that it holds, written as CycloneDX.

Reading order: ``readers`` (a lockfile's text to components, pure) -> ``cyclonedx`` (components to the
document, pure) -> ``folder`` (finds lockfiles in a release, keeps the document beside it). What has no
lockfile is not guessed at: nothing is known of it, and that is said.
"""
