"""The functions as they are handed on: a zip each, and the template that deploys the zips without a toolchain.

    functions.py names                  print the functions' names, one a line
    functions.py template               print the template, whose functions lie beside it under functions/
    functions.py zip TARGET OUT         write OUT/functions/<name>.zip of TARGET/lambda/<name>/bootstrap, and OUT/template.yaml
    functions.py --self-test            break the template, and see that each fault is found

The template is template.yaml, with each folder that `sam build` would compile replaced by a zip. `sam deploy` uploads the zips.
Needs Python alone.
"""

import pathlib
import re
import struct
import sys
import zipfile

ROOT = pathlib.Path(__file__).parents[2]
FUNCTION = re.compile(r"^    Type: AWS::Serverless::Function$", re.MULTILINE)
# As scripts/check-template.py holds them: the folder is the name of the binary.
BUILD = re.compile(r"^    Metadata: \{BuildMethod: rust-cargolambda, BuildProperties: \{Binary: ([a-z-]+)\}\}\n", re.MULTILINE)
CODE = re.compile(r"^      CodeUri: functions/([a-z-]+)$", re.MULTILINE)
# An ELF header says which processor it is for. https://man7.org/linux/man-pages/man5/elf.5.html
PROCESSORS = {62: "x86-64", 183: "arm64"}
# What Lambda unzips has to be executable, and an unchanged function gives the same zip.
MODE = 0o100755
DATE = (1980, 1, 1, 0, 0, 0)


def names(template):
    """The functions that the template deploys. Ends the program if it is not written as expected."""
    found = CODE.findall(template)
    functions, built = len(FUNCTION.findall(template)), BUILD.findall(template)
    if not found or len(found) != functions or found != built or "BuildMethod" in BUILD.sub("", template):
        sys.exit(
            f"template.yaml has {functions} functions, {len(built)} that are built and {len(found)} folders of them: "
            "each needs its Metadata on one line and its CodeUri on another, as the others have them"
        )
    return found


def without_toolchain(template):
    """The template, with zips in the place of folders."""
    names(template)
    return CODE.sub(r"      CodeUri: functions/\1.zip", BUILD.sub("", template))


def processor(binary):
    """The processor that a program is for."""
    with binary.open("rb") as file:
        head = file.read(20)
    if head[:6] != b"\x7fELF\x02\x01":
        sys.exit(f"{binary} is no program for Linux")
    (machine,) = struct.unpack_from("<H", head, 18)
    return PROCESSORS.get(machine, str(machine))


def write_zips(template, target, out):
    """One zip for each function."""
    (out / "functions").mkdir(parents=True, exist_ok=True)
    (wanted,) = set(re.findall(r"^    Architectures: \[(\S+)\]$", template, re.MULTILINE)) or {""}
    for name in names(template):
        binary = target / "lambda" / name / "bootstrap"
        made_for = processor(binary)
        if made_for != wanted:
            sys.exit(f"{binary} is for {made_for}, and the template says {wanted}")
        entry = zipfile.ZipInfo("bootstrap", DATE)
        entry.external_attr = MODE << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(out / "functions" / f"{name}.zip", "w", compresslevel=9) as archive:
            archive.writestr(entry, binary.read_bytes())
    (out / "template.yaml").write_text(without_toolchain(template))


def self_test(template):
    """Each of these is refused."""
    for old, new in [
        ("CodeUri: functions/refs\n", "CodeUri: functions/push\n"),
        ("CodeUri: functions/refs\n", "CodeUri: ./functions/refs\n"),
        ("Binary: refs}}", "Binary: push}}"),
        ("{BuildMethod: rust-cargolambda, BuildProperties: {Binary: refs}}", "\n      BuildMethod: rust-cargolambda"),
        ("    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: refs}}\n", ""),
    ]:
        broken = template.replace(old, new)
        assert broken != template, f"{old} is not in the template any more"
        try:
            names(broken)
        except SystemExit:
            continue
        sys.exit(f"functions.py takes a template with {new!r} in the place of {old!r}")


def main(arguments):
    template = (ROOT / "template.yaml").read_text()
    match arguments:
        case ["names"]:
            print("\n".join(names(template)))
        case ["template"]:
            print(without_toolchain(template), end="")
        case ["zip", target, out]:
            write_zips(template, pathlib.Path(target), pathlib.Path(out))
        case ["--self-test"]:
            self_test(template)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
