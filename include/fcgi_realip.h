/*
 * fcgi_realip.h - who the client of a FastCGI request really is, inside the application.
 *
 * The same policy file and the same answers as the program fcgi-realip, without a process in between. See
 * fcgi_realip(3), and fcgi-realip.ini(5) for the file.
 *
 *     char *messages;
 *     fcgi_realip_policy *policy = fcgi_realip_load("/etc/fcgi-realip/fcgi-realip.ini", &messages);
 *     if (messages != NULL)
 *         fputs(messages, stderr);
 *     free(messages);
 *     if (policy == NULL)
 *         exit(1);
 *     FCGX_Init();
 *     FCGX_InitRequest(&request, 0, 0);
 *     while (fcgi_realip_accept_r(policy, &request) == 0)
 *         ... FCGX_GetParam("REMOTE_ADDR", request.envp) is the client ...
 *
 * Thread safety: a policy is immutable. Any number of threads may call any function with the same policy at
 * the same time, but for fcgi_realip_free. A decision belongs to one thread at a time.
 */
#ifndef FCGI_REALIP_H
#define FCGI_REALIP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

struct FCGX_Request; /* of <fcgiapp.h> */

/* Who is trusted to report a client's address, and what the application sees. */
typedef struct fcgi_realip_policy fcgi_realip_policy;

/* What came out for one request. */
typedef struct fcgi_realip_decision fcgi_realip_decision;

/* One parameter or environment variable. The bytes need no NUL at their end, and may hold any byte. */
struct fcgi_realip_param {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* The most parameters that a request may have. */
#define FCGI_REALIP_MAX_PARAMS 4096

/* The version of the library that is running, as "1.2.3". Static text. */
const char *fcgi_realip_version(void);

/*
 * Reads and checks the INI file at path, its trust files and the host names in it. Of its sections, [proxy],
 * [realip], [access] and [SETTINGS] mean something here; the others are checked as well, and may be absent.
 *
 * NULL if anything is wrong with it; nothing of a bad file is used. *messages (unless messages is NULL) is
 * set to all errors and warnings, a line each as `fcgi-realip check` prints them, or to NULL if there are
 * none; give it to free(3). A file that is to be read again is loaded as another policy.
 *
 * It fails as well in a process into which libfcgi-realip-preload.so is loaded, which does the same already.
 */
fcgi_realip_policy *fcgi_realip_load(const char *path, char **messages);

/* Frees the policy, which nobody may be using any more, no decision either. NULL is fine. */
void fcgi_realip_free(fcgi_realip_policy *policy);

/*
 * As FCGX_Accept_r(3): finishes the request before, and waits for the next one. When it returns 0,
 * request->envp is what fcgi-realip would have sent. A request that the policy refuses (400, 403), that has
 * more than FCGI_REALIP_MAX_PARAMS parameters (431), or for which memory is short (503), is answered here,
 * and the next one is waited for. Nothing is logged.
 *
 * FCGX_Init and FCGX_InitRequest come first, as ever. Any other value than 0 is FCGX_Accept_r's.
 *
 * envp and the strings in it are good until FCGX_Finish_r, FCGX_Free or the next accept, of whichever thread;
 * these free all of it, and nothing else needs to be called. The application neither frees nor exchanges
 * them, and calls this function only on requests that libfcgi itself has filled in.
 *
 * libfcgi hands parameters out as C strings: of a value that holds a NUL, only what is in front of it is
 * seen.
 */
int fcgi_realip_accept_r(fcgi_realip_policy *policy, struct FCGX_Request *request);

/*
 * Decides on a request's parameters, count of them, in the order in which they came. They stay the caller's,
 * and must live as long as the decision.
 *
 * 0, and *decision, which fcgi_realip_decision_free takes back before the policy is freed; or -E2BIG (more
 * than FCGI_REALIP_MAX_PARAMS) or -ENOMEM, and *decision is NULL: the request is then not to be served.
 */
int fcgi_realip_decide(fcgi_realip_policy *policy, const struct fcgi_realip_param *params, size_t count,
                       fcgi_realip_decision **decision);

/* NULL is fine. */
void fcgi_realip_decision_free(fcgi_realip_decision *decision);

/* 0, or the HTTP status to refuse the request with: 400 or 403. */
int fcgi_realip_decision_status(const fcgi_realip_decision *decision);

/*
 * The client's and the peer's address as text (RFC 5952), "unix:" for a unix socket, empty if there is none.
 * Good as long as the decision.
 */
const char *fcgi_realip_decision_client(const fcgi_realip_decision *decision);
const char *fcgi_realip_decision_peer(const fcgi_realip_decision *decision);

/* The port that a proxy reported with the client's address, 1 to 65535; 0: none. */
unsigned fcgi_realip_decision_port(const fcgi_realip_decision *decision);

/* 1 if the client's address is not the peer's, else 0. */
int fcgi_realip_decision_changed(const fcgi_realip_decision *decision);

/* Why the walk ended: "untrusted-peer", "untrusted-hop", ...; see fcgi-realip(1). Static text. */
const char *fcgi_realip_decision_reason(const fcgi_realip_decision *decision);

/*
 * The parameters as the application is to see them: those of fcgi_realip_decide, in their order, without the
 * removed ones and with new values, then the added ones. *params and what it points to are good as long as
 * the decision and the parameters that it was made from.
 *
 * 0, or -ENOMEM, and *params is NULL and *count 0: the request is then not to be served.
 */
int fcgi_realip_rewrite(fcgi_realip_decision *decision, const struct fcgi_realip_param **params,
                        size_t *count);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
