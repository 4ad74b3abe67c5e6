"""One deployment in an emulated account, step by step, for a test that runs daemons in it.

    step.py URL FOLDER apply VARIABLES     images and all the rest, from a JSON object of variables; prints the outputs
    step.py URL FOLDER plan                a second plan is empty
    step.py URL FOLDER destroy             takes it down; prints what is left in the account
"""

import json
import sys
from pathlib import Path

import account
import deploy

# standard output is for what is asked for
deploy.say = lambda what: print(what, file=sys.stderr, flush=True)


def main():
    url, folder, step, *rest = sys.argv[1:]
    account.URL = url
    deployment = deploy.Deployment(Path(folder), url, "bellows", **(json.loads(rest[0]) if rest else {}))
    if step == "apply":
        account.images()
        deployment.init()
        deployment.apply()
        print(json.dumps(deployment.outputs()))
    elif step == "plan":
        deployment.second_plan()
    else:
        deployment.destroy()
        print(json.dumps(account.left()))


main()
