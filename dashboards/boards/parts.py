"""What panels, variables and dashboards look like in Grafana's JSON."""
import json
import re
from urllib.parse import quote

LABELS = ("namespace", "pod", "container")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
LOKI = {"type": "loki", "uid": "${loki}"}
TEMPO = {"type": "tempo", "uid": "${tempo}"}
RED = [{"color": "red", "value": 1}]


# --- Queries ----------------------------------------------------------------------------------

def target(expr, legend, instant=False, table=False):
    query = {"expr": expr, "legendFormat": legend, "datasource": SOURCE, "editorMode": "code"}
    query |= {"instant": True, "range": False} if instant else {"instant": False, "range": True}
    if table:
        query["format"] = "table"
    return query


# --- Panels -----------------------------------------------------------------------------------

def panel(kind, title, about, targets, unit, width, height, custom=None, options=None, more=None, source=SOURCE):
    if not about:
        raise ValueError(f"{title}: a panel says what it shows")
    for letter, one in zip("ABCDEFGHIJKLMNOP", targets):
        one["refId"] = letter
    defaults = {"unit": unit, "color": {"mode": "palette-classic"}, "custom": custom or {}}
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": source,
        "targets": targets,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": defaults | (more or {}), "overrides": []},
        "options": options or {},
    }


def lines(title, about, queries, unit="short", width=12, stack=False, minimum=0, exemplars=False):
    custom = {
        "lineWidth": 1,
        "fillOpacity": 20 if stack else 5,
        "showPoints": "auto",
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["max", "lastNotNull"], "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    targets = [target(expr, legend) | ({"exemplar": True} if exemplars else {}) for expr, legend in queries]
    more = {} if minimum is None else {"min": minimum}
    return panel("timeseries", title, about, targets, unit, width, 8, custom, options, more)


def stat(title, about, expr, unit="short", width=4, steps=None, empty=None):
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    }
    thresholds = [{"color": "text", "value": None}] + (steps or [])
    more = {"thresholds": {"mode": "absolute", "steps": thresholds}, "color": {"mode": "thresholds"}}
    more |= {"noValue": empty} if empty else {}
    return panel("stat", title, about, [target(expr, "", instant=True)], unit, width, 4, None, options, more)


def bars(title, about, expr, legend, unit="short", width=12):
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("bargauge", title, about, [target(expr, legend, instant=True)], unit, width, 8, None, options, {"min": 0})


def table(title, about, columns, hidden=(), height=10, links=None, sort=None, width=24):
    """Columns are (name, query, unit); rows are joined by the labels they share. Links are those of a
    column, by its name; sorted are the rows by a column, `-name` for the largest first."""
    targets = [target(expr, "", instant=True, table=True) for _, expr, _ in columns]
    options = {"showHeader": True, "enablePagination": True}
    if sort:
        options["sortBy"] = [{"displayName": sort.lstrip("-"), "desc": sort.startswith("-")}]
    made = panel("table", title, about, targets, "short", width, height, {"filterable": True}, options)
    single = len(columns) == 1
    fields = ["Value" if single else f"Value #{one['refId']}" for one in targets]
    # Grafana hides a field by its first name, before it is renamed.
    renamed = {f"exported_{name}": name for name in LABELS}
    renamed |= {field: name for field, (name, _, _) in zip(fields, columns) if name not in hidden}
    excluded = {"Time": True} | {field: True for field, (name, _, _) in zip(fields, columns) if name in hidden}
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": excluded, "renameByName": renamed, "indexByName": {}}},
    ]
    of_column = lambda name, key, value: {"matcher": {"id": "byName", "options": name}, "properties": [{"id": key, "value": value}]}
    made["fieldConfig"]["overrides"] = [of_column(name, "unit", unit) for name, _, unit in columns if name not in hidden]
    made["fieldConfig"]["overrides"] += [of_column(name, "links", one) for name, one in (links or {}).items()]
    return made


def timeline(title, about, expr, legend, states, height=8):
    """States are (value, text, colour)."""
    options = {
        "mergeValues": True,
        "showValue": "never",
        "alignValue": "left",
        "rowHeight": 0.8,
        "legend": {"displayMode": "list", "placement": "bottom", "calcs": [], "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    shown = {str(value): {"text": text, "color": colour, "index": value} for value, text, colour in states}
    more = {"mappings": [{"type": "value", "options": shown}], "color": {"mode": "fixed"}}
    custom = {"lineWidth": 0, "fillOpacity": 80}
    return panel("state-timeline", title, about, [target(expr, legend)], "short", 24, height, custom, options, more)


def log_lines(title, about, expr, height=14):
    options = {
        "showTime": True,
        "showLabels": False,
        "showCommonLabels": False,
        "wrapLogMessage": True,
        "prettifyLogMessage": False,
        "enableLogDetails": True,
        "showLogContextToggle": True,
        "dedupStrategy": "none",
        "sortOrder": "Ascending",
    }
    query = {"expr": expr, "queryType": "range", "editorMode": "code", "maxLines": 2000, "datasource": LOKI}
    return panel("logs", title, about, [query], "short", 24, height, None, options, source=LOKI)


def found_by_tempo(query, **more):
    return {"queryType": "traceql", "query": query, "filters": [], "datasource": TEMPO} | more


def trace(title, about, query, height=16):
    return panel("traces", title, about, [found_by_tempo(query)], "short", 24, height, source=TEMPO)


def spans(title, about, query, height=10):
    """A table of spans. Tempo gives at most 100 of a trace unless it is set up for more."""
    query = found_by_tempo(query, tableType="spans", limit=20, spss=100)
    return panel("table", title, about, [query], "short", 24, height, {"filterable": True}, {"showHeader": True}, source=TEMPO)


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24, "h": 1}}


def placed(panels):
    """Left to right, then down."""
    x = y = height = 0
    for number, one in enumerate(panels, 1):
        size = one["gridPos"]
        if x + size["w"] > 24 or one["type"] == "row":
            x, y, height = 0, y + height, 0
        one["gridPos"] = {"x": x, "y": y, **size}
        one["id"] = number
        x, height = x + size["w"], max(height, size["h"])
    return panels


# --- Variables --------------------------------------------------------------------------------

def variable(name, title, family, matchers="", **more):
    """A label's values, of which any may be chosen."""
    label = f"${name}_label" if name in LABELS else name
    query = f"label_values({family}{{{matchers}}}, {label})" if matchers else f"label_values({family}, {label})"
    return {
        "type": "query",
        "name": name,
        "label": title,
        "datasource": SOURCE,
        "query": {"query": query, "refId": "variable", "qryType": 1},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    } | more


def one_value(name, title, family, matchers, **more):
    """A label's values, of which one is chosen."""
    made = variable(name, title, family, matchers, multi=False, includeAll=False, **more)
    del made["allValue"], made["current"]
    return made


def label_variables(family, *names):
    """What the labels are called in this Prometheus. Prometheus calls a label of ours exported_namespace,
    exported_pod or exported_container where the target has one of that name and the scrape is without
    honor_labels. The first in the alphabet is taken: exported_pod where there is one, for then `pod` is
    the agent's."""
    return [
        {
            "type": "query",
            "name": f"{name}_label",
            "hide": 2,
            "datasource": SOURCE,
            "query": {"query": f"label_names({family})", "refId": "variable", "qryType": 0},
            "regex": f"/^(?:exported_)?{name}$/",
            "refresh": 2,
            "sort": 1,
            "multi": False,
            "includeAll": False,
        }
        for name in names
    ]


def written(name, title, value, about):
    """A variable that is typed in."""
    chosen = {"text": value, "value": value, "selected": True}
    return {"type": "textbox", "name": name, "label": title, "description": about, "query": value, "current": chosen, "options": [chosen]}


def source(name, title, kind):
    return {"type": "datasource", "name": name, "label": title, "query": kind, "refresh": 1}


# --- Links ------------------------------------------------------------------------------------

def link(title, url, tab=False):
    return {"title": title, "url": url, "targetBlank": tab}


def of_row(field):
    """The value that another column has in the link's row."""
    return f"${{__data.fields.{field}:percentencode}}"


def to_board(uid, title, **chosen):
    """To another dashboard of ours, at the same time: variables, and what they are there."""
    given = "".join(f"&var-{name}={value}" for name, value in chosen.items())
    return link(title, f"/d/{uid}?${{datasource:queryparam}}&${{cluster:queryparam}}{given}&${{__url_time_range}}")


def to_job():
    """To the dashboard of the job that a row is about."""
    return to_board("ephemon-job", "The job", namespace=of_row("namespace"), pod=of_row("pod"))


def to_trace():
    """To the trace whose id a cell is, in Explore."""
    query = {"refId": "A", "datasource": {"type": "tempo", "uid": "$tempo$"}, "queryType": "traceql", "query": "$__value.raw$"}
    pane = {"datasource": "$tempo$", "queries": [query], "range": {"from": "$__from$", "to": "$__to$"}}
    panes = quote(json.dumps({"trace": pane}, separators=(",", ":")), safe="$")
    return link("The trace", "/explore?schemaVersion=1&panes=" + re.sub(r"\$([\w.]+)\$", r"${\1}", panes))


# --- Dashboards -------------------------------------------------------------------------------

def dashboard(uid, title, about, panels, variables):
    others = {
        "type": "dashboards", "tags": ["ephemon"], "title": "ephemon", "asDropdown": True,
        "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link",
        "tooltip": "", "url": "",
    }
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["ephemon", "kubernetes", "ci"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "fiscalYearStartMonth": 0,
        "links": [others],
        "annotations": {"list": []},
        "templating": {"list": [source("datasource", "Prometheus", "prometheus"), *variables]},
        "panels": placed(panels),
    }
