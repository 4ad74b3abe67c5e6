"""check.py TEMPLATE: what can be said of a template without Packer: it parses, every attribute of the source is one that
the plugin knows (plugin-amazon-1.8.2.json, read out of its schema), every variable is declared and used, and what must be
set is set."""

import json
import pathlib
import re
import sys

import hcl2

HERE = pathlib.Path(__file__).resolve().parent
KNOWN = json.loads((HERE / "plugin-amazon-1.8.2.json").read_text())
# what Packer's own defaults would make wrong: legacy BIOS, IMDSv1, volumes that stay behind
MUST = {
    "amazon-ebssurrogate": {"ami_virtualization_type", "boot_mode", "ena_support", "imds_support", "tags", "snapshot_tags"},
    "launch_block_device_mappings": {"delete_on_termination", "device_name"},
    "ami_root_device": {"delete_on_termination", "device_name", "source_device_name"},
    "metadata_options": {"http_tokens"},
    "source_ami_filter": {"owners", "most_recent"},
}
# what terraform/app_tier.tf looks for
TAGS = {"bellows:role", "bellows:sha256", "bellows:git", "bellows:model"}


def plain(name):
    return name.strip('"')


def check(name, block, mistakes):
    names = {plain(key) for key in block if not plain(key).startswith("__")}
    mistakes += [f"{name}: the plugin knows no {key}" for key in sorted(names - set(KNOWN[name]))]
    mistakes += [f"{name}: {key} is not set" for key in sorted(MUST[name] - names)]
    for key in names & set(KNOWN):
        for inner in block.get(key, block.get(f'"{key}"')):
            check(key, inner, mistakes)


def main():
    text = pathlib.Path(sys.argv[1]).read_text()
    template, mistakes = hcl2.loads(text), []
    for source in template["source"]:
        for kind, blocks in source.items():
            if plain(kind) in KNOWN:
                for block in blocks.values():
                    check(plain(kind), block, mistakes)
            elif not kind.startswith("__"):
                mistakes.append(f"a source of another kind: {kind}")
    declared = {plain(name) for variable in template["variable"] for name in variable if not name.startswith("__")}
    used = set(re.findall(r"\bvar\.(\w+)", text))
    mistakes += [f"variable {name} is not declared" for name in sorted(used - declared)]
    mistakes += [f"variable {name} is not used" for name in sorted(declared - used)]
    mistakes += [f"tag {tag} is not written" for tag in sorted(TAGS) if f'"{tag}"' not in text]
    print("\n".join(mistakes) or f"{len(declared)} variables; every attribute is one of the plugin's")
    sys.exit(bool(mistakes))


main()
