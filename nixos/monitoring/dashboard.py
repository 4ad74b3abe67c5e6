#!/usr/bin/env python3
"""Prints dashboard.json, Grafana's dashboard: `python3 dashboard.py > dashboard.json`.

The rows follow a request: upload, queue, pool, worker, answer. Here is what is shown; the JSON is what Grafana reads,
and `.ci/monitoring` holds the two against each other. src/tests/monitoring.rs asks every query of a Prometheus that
scrapes a real run, and draws docs/monitoring.svg from the same queries.
"""

import json

SOURCE = {"type": "prometheus", "uid": "${source}"}
HERE = 'instance=~"$instance"'
UPLOADS = f'route=~"POST /|/classify.*",{HERE}'
WIDTH = 24


def query(expression, legend):
    """A query; what is in {{ }} in a legend is a label of the answer."""
    return {"expr": expression, "legendFormat": legend}


def rate(metric, by="", where=HERE):
    """How fast a counter grows, a second, summed up but for the labels in `by`."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def quantiles(metric, where=HERE):
    """Half, 19 of 20 and 99 of 100 are below these."""
    of = rate(f"{metric}_bucket", "le", where)
    return [query(f"histogram_quantile({q}, {of})", f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)]


def graph(title, about, unit, queries, stacked=False, bars=False, width=8):
    """Curves over time; `bars` for what is counted, `stacked` for parts of a whole."""
    custom = {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "stepAfter",
        "fillOpacity": 40 if stacked or bars else 8,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "showPoints": "never",
    }
    return panel("timeseries", title, about, unit, queries, width, 8) | {
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def number(title, about, unit, expression, red_from=None):
    """The newest value, red from a limit on."""
    steps = [{"color": "green", "value": None}]
    if red_from is not None:
        steps.append({"color": "red", "value": red_from})
    thresholds = {"mode": "absolute", "steps": steps}
    return panel("stat", title, about, unit, [query(expression, title)], 4, 4) | {
        "fieldConfig": {"defaults": {"unit": unit, "thresholds": thresholds}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"], "values": False, "fields": ""}, "graphMode": "area"},
    }


def ranking(title, about, queries, width=8):
    """Bars for the newest values, one a series."""
    return panel("bargauge", title, about, "short", queries, width, 8) | {
        "options": {
            "orientation": "horizontal",
            "displayMode": "basic",
            "reduceOptions": {"calcs": ["lastNotNull"], "values": False, "fields": ""},
        },
    }


def panel(kind, title, about, unit, queries, width, height):
    now = kind == "bargauge"
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": SOURCE, "instant": now, "range": not now} | q
            for n, q in enumerate(queries)
        ],
    }


# the rest ended without a new answer
ANSWERED = f'outcome=~"classified|refused|expired|dead_lettered",{HERE}'
STAGES = [("queue", "bellows_queue_wait_seconds", HERE)] + [
    (stage, "bellows_classify_duration_seconds", f'stage="{stage}",{HERE}')
    for stage in ("fetch", "decode", "infer", "store")
]

ROWS = {
    "Now": [
        number(
            "Images waiting",
            "In the queue, and no worker has them",
            "short",
            f"sum(bellows:requests_waiting{{{HERE}}})",
        ),
        number(
            "Oldest image",
            "Accepted and not answered. Red: longer than web.wait",
            "s",
            f"max(bellows_queue_oldest_age_seconds{{{HERE}}})",
            300,
        ),
        number(
            "Instances",
            "All that live, those that boot or end included",
            "short",
            f"sum(bellows:pool_instances{{{HERE}}})",
        ),
        number(
            "Cost an hour",
            "Of the live instances, by pool.instance_usd_per_hour",
            "currencyUSD",
            f"sum(bellows_pool_usd_per_hour{{{HERE}}})",
        ),
        number("Answers", "A second", "short", rate("bellows_jobs_total", "", ANSWERED)),
        number(
            "Answers within",
            "19 of 20 uploads of the last 5 minutes. Red: slower than a minute",
            "s",
            f"max(bellows:upload_seconds:p95_5m{{{HERE}}})",
            60,
        ),
    ],
    "1 Upload": [
        graph(
            "Uploads by status",
            "A second. 499: the client hung up; 429: the backlog is full; 507: the disk is",
            "reqps",
            [query(rate("bellows_http_requests_total", "status", UPLOADS) + " > 0", "{{status}}")],
            stacked=True,
        ),
        graph(
            "Images accepted",
            "A second: their message is durably in the queue",
            "short",
            [query(rate("bellows_requests_submitted_total"), "accepted")],
        ),
        graph(
            "Uploads held open",
            "For their answer, at most web.wait long",
            "short",
            [query(f"sum(bellows_waiters{{{HERE}}})", "held open")],
        ),
    ],
    "2 Queue": [
        graph(
            "Images in the queue",
            "visible: they wait; in_flight: a worker has them; delayed: given back for later",
            "short",
            [query(f'sum by (state) (bellows_queue_messages{{queue="request_queue",{HERE}}})', "{{state}}")],
            stacked=True,
        ),
        graph(
            "In and out",
            "Images a second",
            "short",
            [
                query(rate("bellows_queue_sent_total", "", f'queue="request_queue",{HERE}'), "in"),
                query(rate("bellows_jobs_total", "", ANSWERED), "out"),
            ],
        ),
        graph("Wait in the queue", "From acceptance to a worker", "s", quantiles("bellows_queue_wait_seconds")),
    ],
    "3 Pool": [
        graph(
            "Instances by state",
            "pending: launched, not ready; retiring: has stopped; terminating: on its way out",
            "short",
            [query(f"sum by (state) (bellows_pool_instances{{{HERE}}})", "{{state}}")],
            stacked=True,
        ),
        graph(
            "Wanted and allowed",
            "Instances: what the last decision wants, what there is, the most allowed; and how many lead (1)",
            "short",
            [
                query(f"sum(bellows_pool_instances_wanted{{{HERE}}})", "wanted"),
                query(f"sum(bellows:pool_instances{{{HERE}}})", "there"),
                query(f"sum(bellows_pool_instances_max{{{HERE}}})", "allowed"),
                query(f"sum(bellows_leader{{{HERE}}})", "leaders"),
            ],
        ),
        graph(
            "Decisions",
            "Instances launched, asked to retire (request), not to retire after all (cancel), ended",
            "short",
            [
                query(
                    f"sum by (action) (increase(bellows_scale_actions_total{{{HERE}}}[$__rate_interval]))", "{{action}}"
                )
            ],
            stacked=True,
            bars=True,
        ),
        graph(
            "Cost an hour",
            "Of the live instances; and the budget of rules.yml",
            "currencyUSD",
            [
                query(f"sum(bellows_pool_usd_per_hour{{{HERE}}})", "pool"),
                query("bellows:budget_usd_per_hour", "budget"),
            ],
        ),
        graph(
            "Launches that failed",
            "docs/MONITORING.md says what each code means",
            "short",
            [query(f"sum(increase(bellows_launch_failures_total{{{HERE}}}[$__rate_interval]))", "failed")],
            bars=True,
        ),
        graph(
            "How old what it decides by is",
            "And since the controller's loop last went round",
            "s",
            [
                query(f"max(bellows_observation_age_seconds{{{HERE}}})", "observation"),
                query(f'max(bellows_loop_last_run_age_seconds{{loop="controller",{HERE}}})', "loop"),
            ],
        ),
    ],
    "4 Worker": [
        graph(
            "Where an image's time goes",
            "Mean of each stage, from acceptance to the stored answer",
            "s",
            [
                query(f"{rate(name + '_sum', '', where)} / {rate(name + '_count', '', where)}", stage)
                for stage, name, where in STAGES
            ],
            stacked=True,
        ),
        graph(
            "The slow ones, by stage",
            "19 of 20 images are faster, over 5 minutes",
            "s",
            [query(f"max by (stage) (bellows:stage_seconds:p95_5m{{{HERE}}})", "{{stage}}")],
        ),
        graph(
            "How jobs end",
            "A second; given_back: to be tried again; duplicate: the result was there; lease_lost: it took too long",
            "short",
            [query(rate("bellows_jobs_total", "outcome") + " > 0", "{{outcome}}")],
            stacked=True,
        ),
    ],
    "5 Answer": [
        graph(
            "From upload to answer",
            "The wait for the pool included",
            "s",
            quantiles("bellows_http_request_duration_seconds", UPLOADS),
        ),
        graph(
            "Answers by who waited",
            "A second; false: nobody waited any more, the answer lies at /results",
            "short",
            [query(rate("bellows_responses_received_total", "matched"), "somebody waited: {{matched}}")],
        ),
        ranking(
            "Labels",
            "The ten most frequent since the start: what people send",
            [query(f"topk(10, sum by (label) (bellows_labels_total{{{HERE}}}) > 0)", "{{label}}")],
        ),
    ],
    "Health": [
        graph(
            "Free disk",
            "Below the floor (local.min_free) uploads get 507; both 0 on AWS",
            "bytes",
            [
                query(f"min(bellows_local_free_bytes{{{HERE}}})", "free"),
                query(f"max(bellows_local_min_free_bytes{{{HERE}}})", "floor"),
            ],
        ),
        graph(
            "Given up",
            "Images answered with an error after queue.max_receives attempts, and messages nobody can read",
            "short",
            [
                query(f"sum(increase(bellows_dead_letters_total{{{HERE}}}[$__rate_interval]))", "given up"),
                query(f"sum(increase(bellows_queue_unreadable_total{{{HERE}}}[$__rate_interval]))", "unreadable"),
                query(f'sum(bellows_queue_messages{{queue="dead_letter_queue",{HERE}}})', "unanswered"),
            ],
            bars=True,
        ),
        ranking(
            "What runs",
            "Version, revision and model of each target",
            [
                query(
                    f"bellows_build_info{{{HERE}}}",
                    "{{version}} {{revision}}, {{model}}",
                )
            ],
        ),
    ],
}


def placed():
    """All panels from left to right and top to bottom, with a heading for each row."""
    panels, y = [], 0
    for title, row in ROWS.items():
        heading = {"type": "row", "title": title, "collapsed": False, "panels": []}
        panels.append(heading | {"id": len(panels) + 1, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        y, x = y + 1, 0
        for one in row:
            size = one["gridPos"]
            if x + size["w"] > WIDTH:
                x, y = 0, y + size["h"]
            panels.append(one | {"id": len(panels) + 1, "gridPos": {"x": x, "y": y} | size})
            x += size["w"]
        y += row[-1]["gridPos"]["h"]
    return panels


DASHBOARD = {
    "uid": "bellows",
    "title": "bellows: from upload to answer",
    "description": "Generated by nixos/monitoring/dashboard.py",
    "tags": ["bellows"],
    "schemaVersion": 39,
    "editable": False,
    "graphTooltip": 1,
    "refresh": "15s",
    "time": {"from": "now-1h", "to": "now"},
    "templating": {
        "list": [
            {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
            {
                "name": "instance",
                "label": "Target",
                "type": "query",
                "datasource": SOURCE,
                "query": {"query": "label_values(bellows_build_info, instance)", "refId": "instances"},
                "refresh": 2,
                "multi": True,
                "includeAll": True,
                "allValue": ".*",
                "current": {"text": "All", "value": "$__all"},
            },
        ]
    },
    "annotations": {
        "list": [
            {
                "name": "Alerts",
                "datasource": SOURCE,
                "enable": True,
                "iconColor": "red",
                "expr": f'ALERTS{{alertname=~"Bellows.*",alertstate="firing",{HERE}}}',
                "titleFormat": "{{alertname}}",
            }
        ]
    },
    "panels": placed(),
}

if __name__ == "__main__":
    print(json.dumps(DASHBOARD, indent=1))
