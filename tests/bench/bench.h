/*
 * What the benchmark's programs share: addresses, the clock, and the requests that are sent.
 *
 * Nothing here comes from src/: a mistake in the shim's own code must not cancel itself out in the program
 * that checks it. The requests depend on nothing but their number, so that every run sends the same bytes.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Types, roles and flags of the FastCGI specification, section 8. */
enum { WIRE_BEGIN = 1, WIRE_END = 3, WIRE_PARAMS = 4, WIRE_STDIN = 5, WIRE_STDOUT = 6 };
enum { WIRE_RESPONDER = 1, WIRE_KEEP_CONN = 1, WIRE_HEADER = 8 };

/* The answer begins with this, the REMOTE_ADDR that the application saw, and "\r\n". */
#define BENCH_ANSWER "X-Remote-Addr: "

/* Different requests: each has a client, a peer and proxies of its own. */
#define BENCH_VARIANTS 32

/* Room for what bench_params writes, beside the texts that are given to it. */
#define BENCH_PARAMS_MAX 2048

struct bench_address {
    struct sockaddr_storage address;
    socklen_t length;
};

/* Prints "NAME: TEXT[: errno]" to standard error and ends the process with status 2. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "unix:PATH", "HOST:PORT" (digits only) or "[V6]:PORT"; bench_die if it is none. */
struct bench_address bench_parse_address(const char *text);

/* A number from 0 to max; bench_die, naming the option, if it is none. */
uint64_t bench_parse_number(const char *option, const char *text, uint64_t max);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t bench_now(void);

/* Writes the 8 bytes of a record header, request id 1. */
void bench_put_header(uint8_t *wire, uint8_t type, uint16_t content, uint8_t padding);

/* The addresses of a variant: "203.0.113.N", who asks, and "10.0.7.N", the peer that the web server reports.
 */
void bench_client(unsigned variant, char out[16]);
void bench_peer(unsigned variant, char out[16]);

/*
 * The X-Forwarded-For of a browser's request behind three proxies, malloc'ed: client -> 172.16.44.N ->
 * 198.51.100.N -> (10.0.7.N, the peer). length: how long it is to be; what the true chain leaves of that is
 * filled, on the left, with addresses that the client made up. 0: the true chain alone, 41 bytes or so.
 */
char *bench_forwarded(unsigned variant, size_t length);

/*
 * The PARAMS stream that nginx sends with the fastcgi_params file that comes with it, for a browser's
 * request; 1.1 KB with a short X-Forwarded-For. script: another SCRIPT_FILENAME, or NULL. body:
 * CONTENT_LENGTH; 0 makes it a GET. wire has BENCH_PARAMS_MAX bytes and the lengths of both texts. Returns
 * how many bytes were written.
 */
size_t bench_params(uint8_t *wire, unsigned variant, const char *forwarded_for, const char *script,
                    size_t body);

/* A body as STDIN records of 32 KB, as nginx sends them, and the empty one; malloc'ed. *len: bytes of it all.
 */
uint8_t *bench_body(size_t body, size_t *len);

#endif
