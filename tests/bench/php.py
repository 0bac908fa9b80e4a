"""A page of php-fpm behind nginx: through the shim, and with nginx's own realip module instead.

Every chain has an nginx with one worker, and a php-fpm with eight processes, of its own. HTTP clients keep their
connections. All chains find the same client from the same X-Forwarded-For, with 1,000 trusted ranges.
"""

import glob
import os
import pathlib
import socket
import statistics

from common import PATH, Failure, Process, find, on_processors, one_processor, pin, run_load, show_span, span, \
    summarize_rounds
from servers import Shim, nginx_user, trusted_ranges

CONNECTIONS = CHILDREN = 8
REQUESTS = 2000
ROUNDS, QUICK_ROUNDS = 31, 5
HOPS = ("127.0.0.1", "172.16.44.0/24", "198.51.100.0/24")
PAGE = "<?php echo 'Hello, ', $_SERVER['REMOTE_ADDR'], \"\\n\";\n"
FPM = """
[global]
error_log = {folder}/fpm-error.log
daemonize = no
[www]
{user}
listen = {folder}/php.sock
listen.backlog = 1024
pm = static
pm.max_children = {children}
"""
NGINX = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    {realip}
    upstream application {{ server {app}; {keep} }}
    server {{
        listen 127.0.0.1:{port};
        root {folder}/www;
        location ~ \\.php$ {{
            try_files $uri =404;
            include /etc/nginx/fastcgi.conf;
            fastcgi_pass application;
            {keep_conn}
        }}
    }}
}}
"""


class Chain:
    """keeps: whether nginx keeps its connections to what is behind it; its own default is that it does not."""

    sees = "client"

    def __init__(self, name, shim, keeps):
        self.name, self.shim, self.keeps = name, shim, keeps

    def start(self, folder, port):
        """Its processes, the web server last."""
        os.makedirs(f"{folder}/www")
        pathlib.Path(folder, "www", "hello.php").write_text(PAGE)
        processes = [start_php(folder)]
        app = f"unix:{folder}/php.sock"
        try:
            if self.shim:
                processes.append(self.shim.start(folder, app, CHILDREN))
                app = processes[-1].address
            processes.append(self.start_nginx(folder, app, port))
        except Failure:
            for process in processes:
                process.stop()
            raise
        return processes

    def start_nginx(self, folder, app, port):
        trusted = "".join(f"set_real_ip_from {line.strip()};\n" for line in [*HOPS, *trusted_ranges(1000)])
        realip = "" if self.shim else f"{trusted}real_ip_header X-Forwarded-For;\nreal_ip_recursive on;"
        config = pathlib.Path(folder, "nginx.conf")
        config.write_text(NGINX.format(
            folder=folder, app=app, port=port, user=nginx_user(), realip=realip,
            keep=f"keepalive {CONNECTIONS};" if self.keeps else "",
            keep_conn="fastcgi_keep_conn on;" if self.keeps else ""))
        return Process(f"nginx of {self.name}", [find("nginx", "nginx"), "-p", str(folder), "-c", str(config), "-e",
                       "stderr"], f"127.0.0.1:{port}", f"{folder}/nginx.log")


class ChainShim(Shim):
    config = Shim.config.replace("10.0.7.0/24", "127.0.0.1")


def find_php():
    """Debian's has the version in its name."""
    found = [path for part in PATH.split(":") for path in sorted(glob.glob(f"{part}/php-fpm*"), reverse=True)]
    if not found:
        raise Failure("php-fpm is not installed (Debian, Ubuntu: apt install php-fpm)")
    return found[0]


def start_php(folder):
    root = os.geteuid() == 0
    config = pathlib.Path(folder, "php-fpm.conf")
    config.write_text(FPM.format(folder=folder, children=CHILDREN, user="user = root\ngroup = root" if root else ""))
    return Process("php-fpm", [find_php(), "-y", str(config), *(["-R"] if root else [])], f"unix:{folder}/php.sock",
                   f"{folder}/php-fpm.log")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_chains(command):
    return [Chain("realip", None, False), Chain("shim", ChainShim(command), False),
            Chain("realip, kept", None, True), Chain("shim, kept", ChainShim(command), True)]


def measure(tools, started, rounds, scale, cpus):
    """{chain's name: [result, ...]}, everything on these processors."""
    results = {chain.name: [] for chain, _ in started}
    options = ["-n", str(max(int(REQUESTS * scale), CONNECTIONS)), "-c", str(CONNECTIONS), "-u", "/hello.php"]
    for _, processes in started:
        for process in processes:
            pin(process.pid, cpus)
    for number in range(rounds + 1):
        for chain, processes in started:
            with on_processors(cpus):
                result = run_load(tools["load-http"], processes[-1].address, chain, options,
                                  [process.pid for process in processes])
            if number > 0:  # the first warms up
                results[chain.name].append(result)
            elif result["errors"]:
                raise Failure(f"php behind {chain.name}: {result['errors']} wrong answers:\n"
                              + "".join(process.errors() for process in processes))
    return results


def summarize(results):
    """Medians, and the ratios of requests a second to the first chain's, round by round."""
    base, summary = next(iter(results.values())), {}
    for name, rounds in results.items():
        summary[name] = summarize_rounds(rounds)
        summary[name]["to_first"] = span([r["per_second"] / b["per_second"] for r, b in zip(rounds, base)])
        each = [statistics.median(times) for times in zip(*(r["cpu_us_each"] for r in rounds))]
        summary[name]["cpu_us_of"] = {"php": each[0], "nginx": each[-1], "shim": sum(each[1:-1])}
    return summary


def print_summary(placement, summary):
    for number, (name, row) in enumerate(summary.items()):
        ratio = show_span(row["to_first"]) if number > 0 else ""
        print(f"  {placement:5}{name:14}{row['per_second']:9.0f}  {ratio:22}{row['cpu_us']:9.1f}"
              + "".join(f"{row['cpu_us_of'][part]:7.1f}" for part in ("nginx", "shim", "php"))
              + f"{row['p50_us']:9.0f}{row['errors']:8}", flush=True)


def benchmark(options, tools, folder):
    """Runs and prints it: ([{processors, summary, rounds}], figures)."""
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    print(f"\nnginx -> (shim ->) php-fpm, {CONNECTIONS} connections, {CHILDREN} php processes, {rounds} rounds; "
          f"requests a second, ratio to nginx's realip module;\nkept: nginx, too, keeps its connections; CPU time a "
          f"request of nginx, shim and php-fpm\n  {'':5}{'':14}{'req/s':>9}  {'ratio':22}{'CPU us':>9}{'nginx':>7}{'shim':>7}"
          f"{'php':>7}{'p50 us':>9}{'errors':>8}")
    placements = {"one": one_processor(options).relay}
    if len(os.sched_getaffinity(0)) > 1 and not options.one:
        placements["two"] = set(sorted(os.sched_getaffinity(0))[-2:])
    documents, figures, started = [], {}, []
    try:
        for number, chain in enumerate(make_chains(options.command)):
            started.append((chain, chain.start(f"{folder}/php-{number}", free_port())))
        for placement, cpus in placements.items():
            results = measure(tools, started, rounds, options.scale, cpus)
            summary = summarize(results)
            print_summary(placement, summary)
            figures[f"php {placement}"] = summary["shim"]["to_first"]["ratio"]
            documents.append({"processors": placement, "summary": summary, "rounds": results})
    finally:
        for _, processes in started:
            for process in reversed(processes):
                process.stop()
    return documents, figures
