#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Looks at lbd's page in a headless Chromium. Prints a line "ok NAME" or "not ok NAME: WHY" for each check.

usage: check.py made-up [--shots DIR] [--axe FILE]   against a stand-in: states and texts that a lab does not have
       check.py lbd URL SERVICES.json [--shots DIR]  against a running lbd; the file is of lbctl services --json
--axe: axe-core's axe.min.js. --shots: pictures of the page, in the light and in the dark, large and small.
"""
import argparse
import json
import pathlib
import sys
import time

import browser
import stand_in

CHECKS = {}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def check(function):
    CHECKS[function.__name__] = function
    return function


def expect(what, actual, expected):
    if actual != expected:
        raise browser.Failure(f"expected {what} {expected!r}, got {actual!r}")


def quiet(page, origin):
    """Nothing was said on the console, and nobody else was asked."""
    expect("console", page.console, [])
    others = [url for url in page.requests if not url.startswith((origin, "data:", "about:", "chrome:"))]
    expect("requests elsewhere", others, [])


def ready(page, server, **how):
    page.open(server.url, **how)
    page.wait("services", "document.querySelector('#rows .row')")


def shown(page):
    return page.run("[...document.querySelectorAll('#rows .open')].map(one => one.textContent)")


def type_in(page, identity, text):
    page.run(f"{{const one = document.getElementById({json.dumps(identity)}); one.value = {json.dumps(text)};"
             "one.dispatchEvent(new Event('input'))}")


def open_service(page, name):
    page.run(f"[...document.querySelectorAll('#rows .open')].find(one => one.textContent === {json.dumps(name)}).click()")
    page.wait("backends", "document.querySelector('#detail tbody tr')")


# ---- against a stand-in ----

@check
def it_shows_all_services_and_is_quiet(page, options):
    server = stand_in.start("--services", "3")
    ready(page, server)
    expect("services", sorted(shown(page)), ["api", "dns", "web"])
    page.wait("rates", "document.querySelector('#rows .row td.num').textContent.match(/^[0-9.k]+$/)")
    open_service(page, "api")
    expect("backends", page.run("document.querySelectorAll('#detail tbody tr').length"), 10)
    quiet(page, server.url.removesuffix("page"))


@check
def the_worst_come_first_and_the_filter_finds(page, options):
    ready(page, stand_in.start("--services", "110"))
    expect("the first", shown(page)[0], "cache")
    expect("rows of a page", len(shown(page)), 50)
    type_in(page, "find", "dns-1")
    page.wait("the filter", "document.querySelectorAll('#rows .row').length === 2")
    expect("found", sorted(shown(page)), ["dns-1", "dns-10"])
    page.wait("that it is said", "document.getElementById('said').textContent === '2 services shown'")
    type_in(page, "find", "10.0.1.12")
    page.wait("a backend that is down", "document.querySelectorAll('#rows .row').length === 1")
    expect("its service", shown(page), ["api"])
    type_in(page, "find", "")
    page.wait("all again", "document.querySelectorAll('#rows .row').length === 50")
    page.run("document.getElementById('only-wrong').click()")
    wrong = page.run("[...document.querySelectorAll('#rows .row')].every(one => one.querySelector('.sub').textContent"
                     ".match(/^(down|blind|panic|degraded|on backups)/))")
    expect("only what is wrong", wrong, True)
    page.run("document.getElementById('only-wrong').click(); document.getElementById('next').click()")
    expect("the next page", page.run("document.getElementById('page-at').textContent"), "51 to 100 of 110")


@check
def a_finding_leads_to_its_service(page, options):
    ready(page, stand_in.start("--services", "110"))
    page.run("document.getElementById('wrong-more').click()")
    page.run("sortBy('name')")
    page.run("[...document.querySelectorAll('#wrong-list .link')].find(one => one.textContent.startsWith('search')"
             "|| one.textContent.startsWith('mail-1:')).click()")
    page.wait("backends", "document.querySelector('#detail tbody tr')")
    expect("focus", page.run("document.activeElement.textContent"), "mail-1")
    expect("expanded", page.run("document.activeElement.getAttribute('aria-expanded')"), "true")


@check
def columns_sort_and_say_so(page, options):
    ready(page, stand_in.start("--services", "20"))
    page.run("document.querySelector('#columns [data-key=name] button').click()")
    names = shown(page)
    expect("order", names[:3], ["api", "api-1", "cache"])
    expect("aria-sort", page.run("document.querySelector('[data-key=name]').getAttribute('aria-sort')"), "ascending")
    page.run("document.querySelector('#columns [data-key=name] button').click()")
    expect("turned", shown(page), names[::-1])
    expect("columns that say so", page.run("document.querySelectorAll('[aria-sort]').length"), 1)


@check
def it_follows_what_changes(page, options):
    server = stand_in.start("--services", "3", "--well")
    ready(page, server)
    expect("heading", page.run("document.getElementById('h-wrong').textContent").startswith("All is well"), True)
    server.world.services[0]["list"][0].update(condition="down", why="connect: refused")
    server.world.services[0]["status"] = "degraded"
    page.wait("the change", "document.querySelector('#wrong-list').textContent.includes('connect: refused')")
    page.wait("that it is said", "document.getElementById('said').textContent === '1 thing is wrong'")
    expect("title", page.run("document.title"), "✕ 1: lbd lb1")


@check
def both_directions_of_nat_are_shown(page, options):
    server = stand_in.start("--services", "4", "--well", "--speed", "25")
    nat, other = (next(one["name"] for one in server.world.services if one["nat"] == which) for which in (True, False))
    ready(page, server)
    page.wait("replies among the totals", "document.getElementById('tiles').textContent.match(/replies [0-9.]+[kMG]?bit/)")
    expect("services with replies", page.run("[...document.querySelectorAll('#rows .row')].filter(row => row.textContent.includes('back '))"
                                             ".map(row => row.querySelector('.open').textContent)"), [nat])
    lines = "[...document.querySelectorAll('#detail .charts svg')].map(one => one.querySelectorAll('.line').length)"
    open_service(page, nat)
    page.wait("charts of both", f"JSON.stringify({lines}) === '[1,2,2,3,3,3]'")
    expect("caption", page.run("document.querySelectorAll('#detail figcaption')[2].textContent").startswith("Bits a second, and of replies"), True)
    expect("said", "; of replies: now " in page.run("document.querySelectorAll('#detail .charts svg')[1].getAttribute('aria-label')"), True)
    page.wait("lines of both", "[...document.querySelectorAll('#detail .charts svg')[2].querySelectorAll('.line')]"
                               ".every(line => line.getAttribute('d').includes('L'))")
    if options.shots:
        page.shot(pathlib.Path(options.shots) / "nat.png", whole=True)
    open_service(page, other)
    page.wait("charts of one", f"JSON.stringify({lines}) === '[1,1,1,3,3,3]'")
    quiet(page, server.url.removesuffix("page"))


@check
def a_lost_lbd_is_said_and_its_return(page, options):
    server = stand_in.start("--services", "3")
    ready(page, server)
    server.hangs = True
    page.wait("the loss", "document.body.classList.contains('lost')")
    text = page.run("document.querySelector('#wrong-list li').textContent")
    expect("sentence", "No answer from lbd since" in text, True)
    expect("what is shown stays", len(shown(page)), 3)
    expect("said", page.run("document.getElementById('said').textContent"), "lbd does not answer")
    page.console.clear()
    server.hangs = False
    page.wait("the return", "!document.body.classList.contains('lost')")
    page.console.clear() # the browser itself reports requests that failed


@check
def hostile_texts_stay_texts(page, options):
    server = stand_in.start("--services", "8", "--hostile")
    ready(page, server)
    open_service(page, stand_in.HOSTILE + "api")
    page.wait("another reading", "model.services.values().next().value.flows.values.length > 1")
    expect("scripts that ran", page.run("window.broken === undefined"), True)
    expect("nodes made of texts", page.run("document.querySelectorAll('img, #rows script, #wrong script').length"), 0)
    expect("the text", stand_in.HOSTILE in page.run("document.getElementById('events').textContent"), True)
    quiet(page, server.url.removesuffix("page"))


@check
def the_browser_lets_no_text_become_html(page, options):
    ready(page, stand_in.start("--services", "1"))
    refused = page.run("""(() => {
        try { document.body.insertAdjacentHTML("beforeend", "<img src=x>"); return "html"; } catch { }
        try { document.createElement("script").text = "1"; return "script"; } catch { }
        try { eval("1"); return "eval"; } catch { }
        return "all refused"; })()""")
    expect("what is refused", refused, "all refused")
    expect("another host", page.run("fetch('http://127.0.0.2:1/').then(() => 'asked', () => 'refused')"), "refused")
    expect("why", any("Content Security Policy" in line for line in page.console), True)
    page.console.clear()


@check
def a_token_is_asked_for_and_sent(page, options):
    server = stand_in.start("--services", "2", "--token", "0123456789abcdef")
    page.open(server.url)
    page.wait("the form", "!document.getElementById('signin').hidden")
    expect("focus", page.run("document.activeElement.id"), "token")
    submit = "document.getElementById('token').value = {!r}; document.getElementById('token-form').requestSubmit()"
    page.run(submit.format("fedcba9876543210"))
    page.wait("the refusal", "!document.getElementById('token-wrong').hidden")
    page.run(submit.format("0123456789abcdef"))
    page.wait("services", "document.querySelectorAll('#rows .row').length === 2")
    expect("the form", page.run("document.getElementById('signin').hidden"), True)
    expect("kept", page.run("JSON.stringify({...localStorage, ...sessionStorage})").find("0123456789abcdef"), -1)
    page.console.clear() # the browser itself reports the two 401


@check
def keys_alone_reach_and_open_a_service(page, options):
    ready(page, stand_in.start("--services", "3"))
    page.press("Tab")
    expect("first", page.run("document.activeElement.className"), "skip")
    page.press("Enter")
    for _ in range(30):
        page.press("Tab")
        if page.run("document.activeElement.classList.contains('open')"):
            break
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    expect("visible focus", outline, "solid")
    page.press("Enter")
    page.wait("backends", "document.querySelector('#detail tbody tr')")
    expect("expanded", page.run("document.activeElement.getAttribute('aria-expanded')"), "true")


@check
def colours_follow_the_system_and_the_switch(page, options):
    back = "getComputedStyle(document.body).backgroundColor"
    ready(page, stand_in.start("--services", "1"), dark=True)
    dark = page.run(back)
    page.colours(dark=False)
    light = page.run(back)
    expect("two", dark != light, True)
    choose = "{{const one = document.getElementById('theme'); one.value = {!r}; one.dispatchEvent(new Event('change'))}}"
    page.run(choose.format("dark"))
    expect("dark by the switch", page.run(back), dark)
    page.colours(dark=True)
    page.run(choose.format("light"))
    expect("light by the switch", page.run(back), light)
    page.call("Page.reload")
    page.wait("the page again", "document.querySelector('#rows .row')")
    expect("kept", page.run(back), light)
    page.run(choose.format("auto"))


@check
def a_phone_needs_no_scrolling_sideways(page, options):
    ready(page, stand_in.start("--services", "60"), width=360, height=740)
    open_service(page, "api")
    expect("width", page.run("document.documentElement.scrollWidth"), 360)


@check
def a_thousand_services_stay_quick(page, options):
    server = stand_in.start("--services", "1000")
    ready(page, server)
    open_service(page, shown(page)[0])
    took = page.run("(() => { const begin = performance.now(); for (let i = 0; i < 20; i++) render();"
                    "return (performance.now() - begin) / 20; })()")
    nodes = page.run("document.getElementsByTagName('*').length")
    print(f"# 1000 services: drawn in {took:.1f} ms, {nodes} elements", flush=True)
    expect("rows", len(shown(page)), 50)
    expect("few elements", nodes < 6000, True)


@check
def axe_finds_nothing(page, options):
    if not options.axe:
        print("skip axe_finds_nothing: no axe-core here: npm fetches it", flush=True)
        return
    axe = pathlib.Path(options.axe).read_text()
    server = stand_in.start("--services", "60")
    page.call("Page.setBypassCSP", enabled=True) # for axe itself
    for width, dark in ((1440, False), (1440, True), (800, False), (360, True)):
        ready(page, server, width=width, dark=dark)
        open_service(page, "api")
        page.run(axe + ";0")
        found = page.run(f"axe.run(document, {{runOnly: {json.dumps(RULES)}}}).then(all => ({{passes: all.passes.length,"
                         "violations: all.violations.map(one => one.id + ': ' + one.nodes.map(node =>"
                         "node.target.join(' ')).slice(0, 3).join(', '))}))")
        expect(f"findings at {width}", found["violations"], [])
        expect("rules that passed", found["passes"] > 20, True)
    page.call("Page.setBypassCSP", enabled=False)


def fill(page, server, count):
    """Charts of five minutes in a few seconds."""
    ready(page, server)
    page.run("window.filling = setInterval(poll, 200); 0")
    page.wait("charts", f"model.services.values().next().value.flows.values.length > {count}")
    page.run("clearInterval(filling)")


@check
def pictures(page, options):
    """docs/page.png is light.png, in fewer colours."""
    if not options.shots:
        return
    shots = pathlib.Path(options.shots)
    shots.mkdir(parents=True, exist_ok=True)
    server = stand_in.start("--services", "6", "--speed", "25")
    fill(page, server, 50)
    page.shot(shots / "light.png")
    page.colours(dark=True)
    page.shot(shots / "dark.png")
    open_service(page, "api")
    page.wait("charts of backends", "detail.backends.values().next().value.flows.values.length > 1")
    page.shot(shots / "service.png", whole=True)
    page.view(360, 740)
    page.shot(shots / "phone.png", whole=True)
    server.hangs = True
    page.colours(dark=False)
    page.view(1440)
    page.wait("the loss", "document.body.classList.contains('lost')")
    page.shot(shots / "lost.png")
    page.console.clear()
    fill(page, stand_in.start("--services", "1000", "--speed", "25"), 20)
    page.shot(shots / "thousand.png")


# ---- against lbd ----

def against_lbd(page, url, services, shots):
    """What lbctl says is what the page shows."""
    page.open(url)
    page.wait("services", f"document.querySelectorAll('#rows .row').length === {len(services)}")
    for service in services:
        name = json.dumps(service["name"])
        row = f"[...document.querySelectorAll('#rows .row')].find(one => one.querySelector('.open').textContent === {name})"
        text = page.run(f"{row}.querySelector('.sub').textContent")
        state = {"backup": "on backups"}.get(service["status"], service["status"])
        expect(f"state of {name}", text.split(" ")[0], state.split(" ")[0])
        expect(f"backends of {name}", page.run(f"{row}.children[1].textContent"),
               f"{service['backends_up']} of {service['backends']}")
    page.wait("a second reading", "model.services.values().next().value.flows.values.length > 0")
    open_service(page, services[0]["name"])
    expect("backends", page.run("document.querySelectorAll('#detail tbody tr').length"), services[0]["backends"])
    if shots:
        page.shot(pathlib.Path(shots) / "lbd.png")
    quiet(page, url.removesuffix("page"))


def run(name, function):
    page = browser.Browser()
    begun = time.monotonic()
    try:
        function(page)
        print(f"ok {name} # {time.monotonic() - begun:.1f} s", flush=True)
        return True
    except browser.Failure as failure:
        print(f"not ok {name}: {failure}; console: {page.console}", flush=True)
        return False
    finally:
        page.close()
        stand_in.stop_all()


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", choices=("made-up", "lbd"))
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--shots")
    parser.add_argument("--axe")
    options = parser.parse_args()
    if options.what == "lbd":
        services = json.loads(pathlib.Path(options.rest[1]).read_text())["services"]
        good = run("the_page_shows_what_lbctl_says", lambda page: against_lbd(page, options.rest[0], services, options.shots))
    else:
        wanted = options.rest or CHECKS
        good = all([run(name, lambda page, name=name: CHECKS[name](page, options)) for name in wanted])
    sys.exit(0 if good else 1)


main()
