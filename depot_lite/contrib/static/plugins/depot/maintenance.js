/* The maintenance page: starts jobs, and displays their progress and results. A job is one request: aborting the request
 * or leaving the page stops it. */
(function () {
    "use strict";
    const root = document.querySelector("[data-depot-maintenance]");
    if (!root) return;

    const find = (name) => root.querySelector("[data-depot-" + name + "]");
    const [status, running, step, bar, results] = ["status", "running", "step", "progress", "results"].map(find);
    const [age, ageWarning, dialog] = ["age", "age-warning", "confirm"].map(find);
    const safeAge = Number(root.dataset.depotSafeAge), shown = Number(root.dataset.depotShown);
    let current = null;

    /* Text is inserted as text nodes only, because names come from users. */
    function make(tag, attributes, ...children) {
        const made = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes || {})) {
            if (name === "class") made.className = value;
            else if (value != null) made.setAttribute(name, value);
        }
        made.append(...children.filter((each) => each != null));
        return made;
    }

    const number = (count) => count.toLocaleString("en");
    const counted = (count, one) => number(count) + " " + one + (count === 1 ? "" : "s");

    function cookie(name) {
        const found = document.cookie.split("; ").find((each) => each.startsWith(name + "="));
        return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
    }

    // --- jobs ------------------------------------------------------------------------------------------------------

    /* Yields the lines of the response; without a last one if the server goes away. */
    async function* lines(body) {
        const reader = body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
            const { value, done } = await reader.read();
            if (done) return;
            const parts = (rest + value).split("\n");
            rest = parts.pop();
            for (const part of parts) if (part) yield JSON.parse(part);
        }
    }

    async function ask(name, what, signal) {
        const answer = await fetch(root.dataset.depotMaintenance + "/" + name, {
            method: "POST", signal, cache: "no-store", body: JSON.stringify(what),
            headers: { "Content-Type": "application/json", "X-CSRFToken": cookie("starlette_admin_csrftoken") },
        });
        const type = answer.headers.get("content-type") || "";
        if (type.startsWith("application/x-ndjson")) return answer.body;
        const said = type.startsWith("application/json") ? (await answer.json()).error : null;
        const login = answer.redirected || answer.status === 401 || answer.status === 403;
        throw new Error(said || (login ? "the server refused it: you may not do that, or have to log in again"
            : "the server answered " + answer.status));
    }

    /* Messages for jobs that ended early. */
    const undone = {
        delete: " What was deleted until then is gone; find unused files again to see what is left.",
        clear: " What was removed from its row until then stays removed; find missing files again to see what is left.",
    };

    /* Returns the result, or null. One job at a time. */
    async function run(name, what, title) {
        if (current) return null;
        current = new AbortController();
        let more = undone[name] || "";
        busy(title);
        try {
            for await (const line of lines(await ask(name, what, current.signal))) {
                if (line.progress) progress(line.progress);
                if (line.error && name === "clear") more = "";  // the error contains this already
                if (line.error) throw new Error(line.error);
                if (line.result) return line.result;
            }
            throw new Error("the connection broke off; nothing is half done, begin again");
        } catch (error) {
            const stopped = error.name === "AbortError";
            section(title, make("p", { class: stopped ? "" : "depot-error" }, (stopped ? "Stopped." : "It failed: " + error.message) + more));
            say(stopped ? title + ": stopped." : title + " failed: " + error.message);
            return null;
        } finally {
            current = null;
            idle();
        }
    }

    const buttons = () => root.querySelectorAll("[data-depot-job], [data-depot-ask]");

    function busy(title) {
        for (const each of buttons()) if (!each.disabled) { each.disabled = true; each.dataset.depotBusy = ""; }
        running.hidden = false;
        bar.removeAttribute("value");
        step.textContent = title + " …";
        find("stop").focus();
        say(title + " has begun.");
    }

    function idle() {
        for (const each of root.querySelectorAll("[data-depot-busy]")) { each.disabled = false; delete each.dataset.depotBusy; }
        running.hidden = true;
        results.focus();
    }

    let told = "";
    function progress({ step: name, done, total, unit }) {
        if (total) { bar.max = total; bar.value = Math.min(done, total); } else bar.removeAttribute("value");
        step.textContent = name + ": " + number(done) + (total ? " of " + number(total) : "") + " " + unit;
        if (name !== told) say(told = name);  // once per step, because screen readers read each message aloud
    }

    function say(text) { status.textContent = text; }

    // --- results ---------------------------------------------------------------------------------------------------

    /* Inserts a card of results before the others, and removes the old one with the same title. */
    function section(title, ...children) {
        drop(title);
        const heading = make("h2", { class: "card-title" }, title);
        const card = make("article", { class: "card mt-3", "data-depot-title": title }, make("div", { class: "card-body" }, heading, ...children));
        results.prepend(card);
        return card;
    }

    function table(caption, headings, rows) {
        if (!rows.length) return null;
        const head = make("tr", {}, ...headings.map((each) => make("th", { scope: "col" }, each)));
        const body = rows.map((cells) => make("tr", {}, ...cells.map((each) => make("td", { class: "depot-id" }, each))));
        const made = make("table", { class: "table table-sm" }, make("caption", { class: "depot-hidden" }, caption),
            make("thead", {}, head), make("tbody", {}, ...body));
        return make("div", { class: "table-responsive" }, made);
    }

    function first(rows, all) {
        return rows.length < all ? make("p", { class: "depot-facts" }, "The first " + shown + " are shown.") : null;
    }

    function link(url, text, about) {
        if (!url) return text;
        return make("a", { href: url, target: "_blank", rel: "noopener" }, text, make("span", { class: "depot-hidden" }, " " + about + ", in a new tab"));
    }

    function enter(depot, numbers) {
        const row = [...root.querySelectorAll("[data-depot-name]")].find((each) => each.dataset.depotName === depot);
        for (const [name, value] of Object.entries(numbers)) {
            row.querySelector("[data-depot-number=" + name + "]").textContent = typeof value === "number" ? number(value) : value;
        }
    }

    const jobs = {
        async count(depot) {
            const found = await run("count", { depot }, "Counting " + depot);
            if (!found) return;
            enter(depot, found.damaged ? { files: found.files, size: found.size } : { files: found.files, size: found.size, named: found.named });
            const damaged = found.damaged ? " " + counted(found.damaged, "row") + " cannot be understood: find missing files." : "";
            const text = counted(found.files, "file") + ", " + found.size + "; rows name " + number(found.named) + ", " +
                number(found.unnamed) + " are named by none, or not yet." + damaged;
            section("Counting " + depot, make("p", {}, text));
            say(depot + ": " + text);
        },

        async unused(depot) {
            const seconds = Number(age.value), name = age.selectedOptions[0].text;
            const found = await run("unused", { depot, older_than: seconds }, "Unused files of " + depot);
            if (!found) return;
            enter(depot, { files: found.listed, named: found.named, unused: found.unused });
            const text = found.unused
                ? counted(found.unused, "unused file") + " older than " + name + ", " + found.size + "."
                : "No unused file is older than " + name + ".";
            const spared = spare(found);
            const rows = found.rows.map((each) => [link(each.url, each.id, "look at this file"), each.size,
                make("span", { title: each.stored }, each.age)]);
            const doubt = found.objections.length ? make("div", { class: "depot-warning" },
                make("p", {}, "None of them can be deleted here:"),
                make("ul", {}, ...found.objections.map((each) => make("li", {}, each)))) : null;
            const ask = found.unused && !doubt ? asking("unused", "Delete " + (found.unused === 1 ? "this file" : "these " + counted(found.unused, "file")),
                () => askToDelete(depot, seconds, found)) : null;
            section("Unused files of " + depot, make("p", {}, text + spared), doubt, ask,
                table("Unused files of " + depot, ["File", "Size", "Age"], rows), first(rows, found.unused));
            say(depot + ": " + text);
        },

        async missing(depot) {
            const found = await run("missing", { depot }, "Missing files of " + depot);
            if (!found) return;
            enter(depot, { missing: found.missing });
            const text = found.missing ? counted(found.missing, "file") + " missing of " + number(found.named) + " that rows name."
                : "None is missing of " + counted(found.named, "file") + " that rows name.";
            const most = 2 * found.missing > found.named;
            const doubt = found.missing ? make("p", { class: "depot-warning" }, most
                ? (found.missing === found.named ? "All of them" : "More than half of them") + ": that is how a storage looks that is not mounted, or another folder, bucket or prefix. Change no row before you know that it is the right one; here, so many are not removed from theirs."
                : "When in doubt, keep the rows: a storage that is down, or restored from an older backup, looks like this, and its files may come back. Replace a file, or clear it, on the page of its row.") : null;
            const ask = found.missing && !most ? asking("missing", found.missing === 1 ? "Remove it from its row" : "Remove them from their rows",
                () => askToClear(depot, found)) : null;
            const rows = found.rows.map((each) => [...cells(each), each.path]);
            section("Missing files of " + depot, make("p", {}, text), doubt,
                table("Missing files of " + depot, [...ofRow, "Path"], rows), first(rows, found.missing),
                ask, ...beside(found));
            say(depot + ": " + text);
        },
    };

    const ofRow = ["Model", "Row", "Attribute", "Name"];

    function cells(row) {
        return [row.model, link(row.url, row.key || "(no primary key)", "edit this row"),
            row.attribute + (row.part ? " (" + row.part + ")" : ""), row.name || ""];
    }

    function spare(found) {
        const kept = found.kept ? number(found.kept) + " kept by the application" : "";
        const young = found.young ? number(found.young) + " too young to tell" : "";
        const said = [young, kept].filter(Boolean).join(", ");
        return said ? " Spared: " + said + "." : "";
    }

    function beside(found) {
        const named = (rows, last) => rows.map((each) => [each.place, each.key.join(", "), each[last]]);
        const made = [];
        if (found.unconfigured) made.push(make("h3", {}, counted(found.unconfigured, "file") + " in depots that are not configured"),
            table("Files in depots that are not configured", ["Column", "Row", "Path"], named(found.unconfigured_rows, "path")));
        if (found.damaged) made.push(make("h3", {}, counted(found.damaged, "row") + " that cannot be understood"),
            table("Rows that cannot be understood", ["Column", "Row", "Why"], named(found.damaged_rows, "error")));
        return made;
    }

    // --- confirmations ---------------------------------------------------------------------------------------------

    /* Returns a button that opens a dialog, or null for users with read-only access. */
    function asking(about, text, ask) {
        if (!dialog) return null;
        const made = make("button", { type: "button", class: "btn btn-outline-danger my-3", "data-depot-ask": about }, text + " …");
        made.addEventListener("click", ask);
        return made;
    }

    function confirm({ title, text, warning, after, act }) {
        find("confirm-title").textContent = title + "?";
        find("confirm-text").textContent = text;
        find("confirm-warning").textContent = warning;
        find("confirm-warning").hidden = !warning;
        find("confirm-after").textContent = after;
        const sure = find("sure");
        sure.textContent = title;
        sure.onclick = () => { dialog.close(); act(); };
        find("cancel").onclick = () => dialog.close();
        dialog.showModal();
        find("cancel").focus();
    }

    /* Removes the buttons of a result, which is out of date after the job. */
    const forget = (about) => { for (const each of results.querySelectorAll("[data-depot-ask=" + about + "]")) each.remove(); };

    function drop(title) {
        for (const each of [...results.children]) if (each.dataset.depotTitle === title) each.remove();
    }

    function askToDelete(depot, seconds, found) {
        const files = counted(found.unused, "file");
        confirm({
            title: "Delete " + files,
            text: "Depot " + depot + ": " + files + " that no row names, " + found.size + ".",
            warning: seconds >= safeAge ? "" : "They may belong to transactions that are open, or to forms that are not sent yet: such files would be lost.",
            after: found.trash
                ? "They are looked for once more before, and marked. Those that were marked more than " + found.trash + " ago (" + number(found.due) + ") are deleted, and cannot be brought back."
                : "They are looked for once more before. Deleted files cannot be brought back.",
            act: () => remove(depot, seconds, found),
        });
    }

    async function remove(depot, seconds, found) {
        const title = "Deletion of unused files of " + depot;
        forget("unused");
        const done = await run("delete", { depot, older_than: seconds, before: found.before }, title);
        if (!done) return;
        enter(depot, { files: done.listed - done.deleted, named: done.named, unused: done.failed + done.marked + done.waiting });
        const text = counted(done.deleted, "file") + " deleted, " + done.size + "." +
            (done.marked ? " " + counted(done.marked, "file") + " marked, to be deleted after " + found.trash + "." : "") +
            (done.failed ? " " + counted(done.failed, "file") + " could not be deleted." : "");
        const left = found.unused - done.deleted - done.failed - done.marked - done.waiting;
        const named = left > 0 ? " " + counted(left, "file") + " left alone: named by a row by now, or gone." : "";
        const rows = done.rows.map((each) => [each.id, each.error]);
        drop("Unused files of " + depot);
        section(title, make("p", {}, text + named + spare(done)), table("Files that could not be deleted", ["File", "Why"], rows), first(rows, done.failed));
        say(depot + ": " + text);
    }

    function askToClear(depot, found) {
        const one = found.missing === 1, their = one ? "its row" : "their rows";
        confirm({
            title: "Remove " + counted(found.missing, "missing file") + " from " + their,
            text: "Depot " + depot + ": " + number(found.missing) + " of " + counted(found.named, "file") + " that rows name " + (one ? "is" : "are") + " missing.",
            warning: "A storage that is not mounted, or a wrong folder, bucket or prefix, makes files look missing that are there. Names and all else that the rows know of them are lost.",
            after: "They are looked for once more before. Variants whose original is there stay, and no file is deleted.",
            act: () => clear(depot, found),
        });
    }

    async function clear(depot, found) {
        const title = "Removal of missing files of " + depot;
        forget("missing");
        const done = await run("clear", { depot, missing: found.missing }, title);
        if (!done) return;
        enter(depot, { missing: done.required + done.variants + done.unmapped + done.failed });
        const text = counted(done.removed, "missing file") + " removed from " + (done.removed === 1 ? "its row." : "their rows.");
        const left = [
            [done.changed, "changed meanwhile, or there again"],
            [done.required, "cannot be cleared: required"],
            [done.variants, "left, since the original is there: regenerate(image) makes the variants of an image anew"],
            [done.unmapped, "left, since no model, or no primary key, leads to the row"],
            [done.failed, "failed"],
        ].filter(([count]) => count).map(([count, what]) => make("li", {}, number(count) + " " + what + "."));
        const required = done.required_rows.map((each) => [...cells(each), each.path]);
        const failed = done.failed_rows.map((each) => [...cells(each), each.error]);
        drop("Missing files of " + depot);
        section(title, make("p", {}, text), left.length ? make("ul", {}, ...left) : null,
            required.length ? make("h3", {}, "Required") : null, table("Files that are required", [...ofRow, "Path"], required), first(required, done.required),
            failed.length ? make("h3", {}, "Failed") : null, table("Files that could not be removed", [...ofRow, "Why"], failed), first(failed, done.failed));
        say(depot + ": " + text);
    }

    // --- the page --------------------------------------------------------------------------------------------------

    root.addEventListener("click", (event) => {
        const button = event.target.closest("[data-depot-job]");
        if (button) jobs[button.dataset.depotJob](button.closest("[data-depot-name]").dataset.depotName);
    });
    find("stop").addEventListener("click", () => { if (current) current.abort(); });
    const warn = () => { ageWarning.hidden = Number(age.value) >= safeAge; };
    age.addEventListener("change", warn);
    warn();  // browsers may restore another choice
    window.addEventListener("pagehide", () => { if (current) current.abort(); });
})();
