/* Files in admin pages: uploads with progress, previews, ordering, and a lightbox. Everything also works without this
 * script: checkboxes keep or remove files, and the file input sends new ones with the form. */
(function () {
    "use strict";
    if (window.depotFiles) return;

    const AT_ONCE = 2;
    const PREVIEWS = {
        "image/png": "image", "image/jpeg": "image", "image/gif": "image", "image/webp": "image", "image/avif": "image",
        "image/bmp": "image", "video/mp4": "video", "video/webm": "video", "video/ogg": "video", "audio/mpeg": "audio",
        "audio/ogg": "audio", "audio/wav": "audio", "audio/x-wav": "audio", "audio/mp4": "audio", "audio/webm": "audio",
        "audio/flac": "audio", "application/pdf": "pdf", "text/plain": "text",
    };

    /* Text is inserted as text nodes only, because names come from users. */
    function make(tag, attributes, ...children) {
        const made = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes || {})) {
            if (name === "class") made.className = value;
            else if (value === true) made.setAttribute(name, "");
            else if (value !== false && value != null) made.setAttribute(name, value);
        }
        made.append(...children.filter((each) => each != null));
        return made;
    }

    function button(text, label, click) {
        const made = make("button", { type: "button", "aria-label": label, title: label }, text);
        made.addEventListener("click", click);
        return made;
    }

    /* The same icons as in the templates. */
    const DRAWINGS = {
        audio: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0M19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0",
        pdf: "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6",
        text: "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6",
        other: "M6 3h8l4 4v14H6zM14 3v4h4",
    };

    function icon(kind) {
        const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
        line.setAttribute("d", DRAWINGS[kind] || DRAWINGS.other);
        drawing.append(line);
        const look = { class: "depot-icon", viewBox: "0 0 24 24", width: 20, height: 20, fill: "none", stroke: "currentColor" };
        for (const [name, value] of Object.entries({ ...look, "aria-hidden": "true" })) drawing.setAttribute(name, value);
        return drawing;
    }

    function sizeOf(bytes) {
        for (const [unit, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
            if (bytes >= unit) return (bytes / unit).toFixed(1).replace(/\.0$/, "") + " " + name;
        }
        return bytes + (bytes === 1 ? " byte" : " bytes");
    }

    function cookie(name) {
        const found = document.cookie.split("; ").find((each) => each.startsWith(name + "="));
        return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
    }

    // --- the queue of all uploads of the page ----------------------------------------------------------------------

    const waiting = [];
    let running = 0;

    function enqueue(upload) {
        waiting.push(upload);
        next();
    }

    function next() {
        while (running < AT_ONCE && waiting.length) {
            const upload = waiting.shift();
            if (upload.cancelled) continue;
            running += 1;
            upload.start(() => { running -= 1; next(); });
        }
    }

    class Upload {
        constructor(url, file, report) {
            this.url = url;
            this.file = file;
            this.report = report;
            this.cancelled = false;
        }

        start(done) {
            const request = (this.request = new XMLHttpRequest());
            request.open("POST", this.url);
            request.setRequestHeader("X-CSRFToken", cookie("starlette_admin_csrftoken"));
            request.setRequestHeader("X-Filename", encodeURIComponent(this.file.name));
            request.setRequestHeader("Accept", "application/json");
            request.setRequestHeader("Content-Type", this.file.type || "application/octet-stream");
            request.upload.addEventListener("progress", (event) => {
                if (event.lengthComputable) this.report.progress(event.loaded / event.total);
            });
            request.addEventListener("load", () => this.answered(request));
            request.addEventListener("error", () => this.report.failed(["the connection broke off"]));
            request.addEventListener("loadend", done);
            request.send(this.file);
        }

        answered(request) {
            let answer = null;
            try { answer = JSON.parse(request.responseText); } catch { /* an HTML page, for example of a login */ }
            if (request.status === 201 && answer) this.report.done(answer);
            else if (answer && answer.errors) this.report.failed(answer.errors);
            else if (answer || request.status >= 400) this.report.failed(["the server did not take it (" + request.status + ")"]);
            else this.report.failed(["the server did not take it: reload the page and log in again"]);
        }

        cancel() {
            this.cancelled = true;
            if (this.request) this.request.abort();
        }
    }

    // --- one field of a form ---------------------------------------------------------------------------------------

    class Editor {
        constructor(root) {
            this.root = root;
            this.items = root.querySelector("[data-depot-items]");
            this.input = root.querySelector("[data-depot-input]");
            this.status = root.querySelector("[data-depot-status]");
            this.multiple = root.hasAttribute("data-depot-multiple");
            this.most = Number(root.dataset.depotMax) || Infinity;
            this.url = root.dataset.depotUpload;
            this.disabled = this.input.disabled;
            for (const item of [...this.items.children]) this.adopt(item);
            if (this.disabled) return;
            root.querySelector("[data-depot-drophint]").hidden = false;
            this.input.addEventListener("change", () => this.chosen());
            this.receiveDrops();
            this.arrange();
        }

        get name() { return this.input.name; }

        all() { return [...this.items.children]; }

        staying() { return this.all().filter((item) => !item.classList.contains("depot-removed")); }

        /* Refused files are listed until the next selection. */
        say(text) { this.status.textContent = [this.notice, text].filter(Boolean).join(" "); }

        /* An item from the server: buttons replace its checkbox. */
        adopt(item) {
            const keep = item.querySelector("[data-depot-keep]");
            item.depot = { name: item.dataset.depotName, keep };
            keep.closest(".depot-keep").classList.add("depot-hidden");
            keep.tabIndex = -1;
            keep.closest(".depot-keep").setAttribute("aria-hidden", "true");
            if (this.disabled) keep.disabled = true;
            else this.addButtons(item);
        }

        addButtons(item) {
            const { name } = item.depot;
            const buttons = make("span", { class: "depot-item-buttons" });
            if (this.multiple) {
                item.depot.up = button("↑", "Move " + name + " up", () => this.move(item, -1));
                item.depot.down = button("↓", "Move " + name + " down", () => this.move(item, 1));
                buttons.append(item.depot.up, item.depot.down);
                item.draggable = true;
                item.addEventListener("dragstart", (event) => {
                    event.dataTransfer.setData("text/plain", name);
                    event.dataTransfer.effectAllowed = "move";
                    item.classList.add("depot-dragged");
                });
                item.addEventListener("dragend", () => { item.classList.remove("depot-dragged"); this.arrange(); });
            }
            item.depot.remove = button("Remove", "Remove " + name, () => this.toggle(item));
            buttons.append(item.depot.remove);
            item.append(buttons);
        }

        /* Stored files can be restored until the form is saved; new ones are dropped. */
        toggle(item) {
            const { name, keep } = item.depot;
            if (!keep) {
                this.forget(item);
                this.say(name + " was taken out.");
                (this.items.lastElementChild?.depot.remove || this.input).focus();
                return;
            }
            const removed = !item.classList.contains("depot-removed");
            if (!removed && !this.multiple) this.all().filter((each) => !each.depot.keep).forEach((each) => this.forget(each));
            this.mark(item, removed);
            this.say(removed ? name + " will be removed when you save." : name + " stays.");
        }

        mark(item, removed) {
            const { name, keep, remove } = item.depot;
            keep.checked = !removed;
            item.classList.toggle("depot-removed", removed);
            remove.textContent = removed ? "Undo" : "Remove";
            remove.setAttribute("aria-label", (removed ? "Keep " : "Remove ") + name);
            remove.title = remove.getAttribute("aria-label");
            this.arrange();
        }

        forget(item) {
            item.depot.upload?.cancel();
            if (item.depot.preview) URL.revokeObjectURL(item.depot.preview);
            item.remove();
            if (!this.multiple && !this.all().some((each) => !each.depot.keep)) {
                this.all().forEach((each) => this.mark(each, false));
            }
            this.arrange();
            settled();
        }

        move(item, by) {
            const other = by < 0 ? item.previousElementSibling : item.nextElementSibling;
            if (!other) return;
            if (by < 0) other.before(item);
            else other.after(item);
            this.arrange();
            const pressed = by < 0 ? item.depot.up : item.depot.down;
            (pressed.disabled ? (by < 0 ? item.depot.down : item.depot.up) : pressed).focus();
            this.say(item.depot.name + " is number " + (this.all().indexOf(item) + 1) + " of " + this.all().length + ".");
        }

        /* Update the buttons to the order, and the input to the files sent with the form. */
        arrange() {
            const all = this.all();
            all.forEach((item, index) => {
                if (!item.depot.up) return;
                item.depot.up.disabled = index === 0;
                item.depot.down.disabled = index === all.length - 1;
            });
            if (this.url) return;
            const files = new DataTransfer();
            all.forEach((item) => { if (item.depot.file) files.items.add(item.depot.file); });
            this.input.files = files.files;
        }

        chosen() {
            const files = [...this.input.files];
            if (this.url) this.input.value = "";
            this.add(files);
        }

        add(files) {
            if (!files.length) return this.arrange();
            let taken = this.multiple ? files : files.slice(0, 1);
            this.notice = "";
            const left = this.most - this.staying().length;
            if (this.multiple && taken.length > left) {
                taken = taken.slice(0, Math.max(left, 0));
                this.notice = "At most " + this.most + " files: " + (files.length - taken.length) + " not taken.";
            } else if (!this.multiple && files.length > 1) {
                this.notice = "Only one file goes here.";
            }
            this.say(taken.length === 1 ? taken[0].name + " was added." : taken.length + " files were added.");
            if (!this.multiple) {
                for (const item of this.all()) {
                    if (item.depot.keep) this.mark(item, true);
                    else { item.depot.upload?.cancel(); item.remove(); }
                }
            }
            taken.forEach((file) => this.addOne(file));
            this.arrange();
        }

        addOne(file) {
            const facts = make("span", { class: "depot-facts" }, (file.type || "unknown type") + " · " + sizeOf(file.size));
            const text = make("span", { class: "depot-item-text" }, make("span", { class: "depot-name" }, file.name), facts);
            const item = make("li", { class: "depot-item", "data-depot-item": true, "data-depot-name": file.name });
            item.depot = { name: file.name, file, facts };
            item.append(this.preview(item, file), text);
            this.addButtons(item);
            this.items.append(item);
            if (this.url) this.send(item);
        }

        preview(item, file) {
            const kind = PREVIEWS[file.type];
            if (!kind) return make("span", { class: "depot-item-preview" }, icon("other"));
            const url = (item.depot.preview = URL.createObjectURL(file));
            const look = button("", "Look at " + file.name, () => lookAt([{ kind, url, file, name: file.name }], 0));
            look.className = "depot-item-preview";
            if (kind === "image") look.append(make("img", { src: url, alt: "" }));
            else if (kind === "video") {
                const video = make("video", { src: url, preload: "metadata", tabindex: "-1" });
                video.muted = true;
                look.append(video);
            } else look.append(icon(kind));
            return look;
        }

        send(item) {
            item.classList.remove("depot-failed");
            item.querySelector(".depot-message")?.remove();
            item.depot.retry?.remove();
            const bar = make("progress", { max: 1, value: 0, "aria-label": "Upload of " + item.depot.name });
            item.append(bar);
            item.depot.busy = true;
            item.depot.failed = false;
            item.depot.upload = new Upload(this.url, item.depot.file, {
                progress: (part) => { bar.value = part; },
                done: (answer) => {
                    item.depot.busy = false;
                    bar.remove();
                    item.depot.facts.textContent = answer.type + " · " + answer.size + " · uploaded, not saved yet";
                    item.append(make("input", { type: "hidden", name: this.name, value: answer.token }));
                    this.say(item.depot.name + " was uploaded.");
                    settled();
                },
                failed: (errors) => {
                    item.depot.busy = false;
                    item.depot.failed = true;
                    bar.remove();
                    item.classList.add("depot-failed");
                    this.say("");
                    item.append(make("span", { class: "depot-message", role: "alert" }, item.depot.name + " " + errors.join("; ")));
                    item.depot.retry = button("Try again", "Upload " + item.depot.name + " again", () => this.send(item));
                    item.querySelector(".depot-item-buttons").prepend(item.depot.retry);
                    settled();
                },
            });
            enqueue(item.depot.upload);
        }

        receiveDrops() {
            const files = (event) => [...event.dataTransfer.types].includes("Files");
            this.root.addEventListener("dragover", (event) => {
                const dragged = this.items.querySelector(".depot-dragged");
                if (!files(event) && !dragged) return;
                event.preventDefault();
                if (files(event)) this.root.classList.add("depot-dropping");
                const over = dragged && event.target.closest("[data-depot-item]");
                if (!over || over === dragged || over.parentElement !== this.items) return;
                const middle = over.getBoundingClientRect();
                if (event.clientY < middle.top + middle.height / 2) over.before(dragged);
                else over.after(dragged);
            });
            this.root.addEventListener("dragleave", (event) => {
                if (!this.root.contains(event.relatedTarget)) this.root.classList.remove("depot-dropping");
            });
            this.root.addEventListener("drop", (event) => {
                this.root.classList.remove("depot-dropping");
                if (!files(event) && !this.items.querySelector(".depot-dragged")) return;
                event.preventDefault();
                if (files(event)) this.add([...event.dataTransfer.files]);
            });
        }

        busy() { return this.all().filter((item) => item.depot.busy); }

        failed() { return this.all().filter((item) => item.depot.failed); }
    }

    // --- saving waits for uploads ----------------------------------------------------------------------------------

    let held = null;

    function editorsOf(form) {
        return [...form.querySelectorAll("[data-depot-edit]")].map((root) => root.depotEditor).filter(Boolean);
    }

    document.addEventListener("submit", (event) => {
        const editors = editorsOf(event.target);
        const failed = editors.flatMap((editor) => editor.failed().map((item) => [editor, item]));
        const busy = editors.filter((editor) => editor.busy().length);
        if (!failed.length && !busy.length) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        if (failed.length) {
            const [editor, item] = failed[0];
            editor.say(item.depot.name + " was not uploaded: try again, or remove it.");
            item.depot.remove.focus();
            held = null;
        } else {
            busy.forEach((editor) => editor.say("Saving as soon as the uploads are done …"));
            held = { form: event.target, submitter: event.submitter };
        }
    }, true);

    function settled() {
        if (!held || editorsOf(held.form).some((editor) => editor.busy().length)) return;
        const { form, submitter } = held;
        held = null;
        form.requestSubmit(submitter);
    }

    // --- lightbox --------------------------------------------------------------------------------------------------

    function lookAt(files, index) {
        const dialog = make("dialog", { class: "depot-dialog", "aria-label": "Preview" });
        const show = (number) => {
            index = (number + files.length) % files.length;
            const { kind, url, file, name } = files[index];
            let body;
            if (kind === "image") body = make("img", { src: url, alt: name });
            else if (kind === "video" || kind === "audio") body = make(kind, { src: url, controls: true });
            else if (kind === "pdf") body = make("iframe", { src: url, title: name });
            else {
                body = make("pre", {});
                file.slice(0, 65536).text().then((text) => { body.textContent = text; });
            }
            const bar = make("div", { class: "depot-dialog-bar" }, make("span", { class: "depot-name" }, name));
            if (files.length > 1) {
                bar.append(make("span", { class: "depot-facts" }, index + 1 + " of " + files.length));
                bar.append(button("←", "Previous", () => show(index - 1)), button("→", "Next", () => show(index + 1)));
            }
            const close = button("Close", "Close", () => dialog.close());
            bar.append(close);
            dialog.replaceChildren(body, bar);
            close.focus();
        };
        dialog.addEventListener("keydown", (event) => {
            if (files.length > 1 && event.key === "ArrowLeft") show(index - 1);
            if (files.length > 1 && event.key === "ArrowRight") show(index + 1);
        });
        dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
        dialog.addEventListener("close", () => dialog.remove());
        document.body.append(dialog);
        dialog.showModal();
        show(index);
    }

    function copy(text) {
        if (navigator.clipboard) return navigator.clipboard.writeText(text);
        const area = make("textarea", { class: "depot-hidden" }); // outside HTTPS there is no clipboard API
        area.value = text;
        document.body.append(area);
        area.select();
        const copied = document.execCommand("copy");
        area.remove();
        return copied ? Promise.resolve() : Promise.reject(new Error("not copied"));
    }

    document.addEventListener("click", (event) => {
        const target = event.target.closest?.("[data-depot-open], [data-depot-copy]");
        if (!target) return;
        if (target.dataset.depotCopy) {
            const said = target.textContent;
            copy(new URL(target.dataset.depotCopy, location.href).href).then(
                () => { target.textContent = "Copied"; },
                () => { target.textContent = "Not copied"; },
            ).finally(() => setTimeout(() => { target.textContent = said; }, 2000));
            return;
        }
        if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens a new tab, like any link
        event.preventDefault();
        const all = [...target.closest("[data-depot-viewer]").querySelectorAll("[data-depot-open]")];
        const files = all.map((link) => ({
            kind: "image", url: link.dataset.depotPicture, name: link.querySelector("img").alt,
        }));
        lookAt(files, all.indexOf(target));
    });

    /* Report files that are missing, or that the browser cannot play or display. Errors do not bubble. */
    document.addEventListener("error", (event) => {
        const media = event.target.closest?.(".depot-media");
        if (media) media.replaceChildren(make("span", { class: "depot-card" }, "This file cannot be shown here: download it."));
    }, true);

    // --- elements added to the page --------------------------------------------------------------------------------

    function enhance(root) {
        for (const each of root.querySelectorAll?.("[data-depot-edit]") || []) {
            if (!each.depotEditor && each.querySelector("[data-depot-input]")) each.depotEditor = new Editor(each);
        }
    }

    function begin() {
        enhance(document);
        new MutationObserver((changes) => {
            for (const change of changes) for (const node of change.addedNodes) enhance(node.parentElement || node);
        }).observe(document.body, { childList: true, subtree: true });
    }

    window.depotFiles = { enhance };
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
    else begin();
})();
