
"use strict";
/* Fills the page again each second: each element says in its data attributes which number of ?json it shows, and how.
   status_html.c fills it for the first time, and does the same in C. */
(() => {
  const find = (data, path) => path.split(".").reduce((value, name) => value[name], data);

  /* Three digits of a number of thousandths. */
  const scale = (thousandths, unit) => {
    const cut = (step, digits) => {
      const number = Math.floor((thousandths + step / 2) / step);
      const whole = Math.floor(number / 10 ** digits);
      return digits ? whole + "." + String(number % 10 ** digits).padStart(digits, "0") : String(whole);
    };
    const text = thousandths < 9995 ? cut(10, 2) : thousandths < 99950 ? cut(100, 1) : cut(1000, 0);
    return text + " " + unit;
  };

  const formats = {
    plain: (value) => String(value),
    count: (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f"),
    rate: (value) => Math.floor(value / 10) + "." + (value % 10),
    text: (value) => value.replace(/[\0-\x1f\x7f-\x9f\\]/g, (byte) => "\\x" + byte.charCodeAt(0).toString(16).padStart(2, "0")),
    time: (us) => us < 1000 ? us + " \u00b5s" : us < 999500 ? scale(us, "ms") : scale(Math.floor(us / 1000), "s"),
    clock: (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC",
    bytes: (bytes) => {
      const units = ["kB", "MB", "GB", "TB", "PB", "EB"];
      let unit = 0;
      if (bytes < 1000)
        return bytes + " B";
      for (; bytes >= 999500; bytes = Math.floor(bytes / 1000))
        unit++;
      return scale(bytes, units[unit]);
    },
    age: (seconds) => {
      const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
      return days ? days + " d " + hours % 24 + " h" : hours ? hours + " h " + minutes % 60 + " min" :
        minutes ? minutes + " min " + seconds % 60 + " s" : seconds + " s";
    },
  };

  const fillList = (table, rows) => {
    const body = table.tBodies[0];
    const columns = Array.from(table.querySelectorAll("[data-c]"));
    body.replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr");
      for (const column of columns) {
        const cell = line.insertCell();
        cell.className = column.className;
        cell.textContent = formats[column.dataset.f](row[column.dataset.c]);
      }
      return line;
    }));
  };

  const each = (name, use) => {
    for (const element of document.querySelectorAll("[data-" + name + "]"))
      use(element, element.getAttribute("data-" + name));
  };

  const show = (data) => {
    each("k", (element, path) => element.textContent = formats[element.dataset.f](find(data, path)));
    each("w", (element, path) => {
      const whole = find(data, element.dataset.of);
      element.setAttribute("width", whole ? Math.min(100, Math.floor(1000 * find(data, path) / whole) / 10) : 0);
    });
    each("peak", (element, path) => element.textContent = formats.count(Math.max(...data[path])));
    each("chart", (element, path) => {
      const most = Math.max(1, ...data[path]);
      element.setAttribute("d", data[path].map(
        (value, at) => value ? "M" + (10 * at + 1) + " 100v-" + Math.ceil(100 * value / most) + "h8V100z" : "").join(""));
    });
    each("list", (element, name) => fillList(element, data[name]));
  };

  const tell = (state, word) => {
    document.body.className = state;
    document.getElementById("word").textContent = word;
  };

  const poll = async () => {
    try {
      const answer = await fetch("?json", {cache: "no-store"});
      if (!answer.ok)
        throw new Error("status " + answer.status);
      show(await answer.json());
      tell("live", "Live,");
    } catch (error) {
      tell("lost", "No answer (" + error.message + ") since");
    }
    setTimeout(poll, document.hidden ? 5000 : 1000);
  };
  poll();
})();
