/*
 * What Prometheus is told: byte by byte what unit/ops/status.openmetrics says, and the older format made of
 * it.
 */
#include "status_sample.h"

#define GOLDEN "unit/ops/status.openmetrics"

static struct metrics *metrics;

static int set_up(void **state)
{
    (void)state;
    metrics = sample_metrics();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    metrics_free(metrics);
    return 0;
}

static void write_new(FILE *out, const struct status *status)
{
    status_write_openmetrics(out, status, false);
}

static void write_classic(FILE *out, const struct status *status)
{
    status_write_openmetrics(out, status, true);
}

/* The line of the older format, or nothing. Its counters are named with their suffix in comments, too. */
static void copy_line(FILE *out, const char *line, bool counter, bool classic)
{
    static const char version[] = "@VERSION@";
    const char *at = strstr(line, version);
    char word[8], name[128];
    int end = 0;
    if (at) {
        fprintf(out, "%.*s" FCGI_REALIP_VERSION "%s", (int)(at - line), line, at + sizeof version - 1);
    } else if (!classic || sscanf(line, "# %7s %127s%n", word, name, &end) != 2) {
        fputs(line, out);
    } else if (strcmp(word, "UNIT") != 0) {
        fprintf(out, "# %s %s%s%s", word, name, counter ? "_total" : "", line + end);
    }
}

/* malloc'ed */
static char *read_golden(bool classic)
{
    char *text = NULL;
    size_t len;
    char line[512];
    bool counter = false;
    FILE *in = fopen(GOLDEN, "r");
    FILE *out = open_memstream(&text, &len);
    assert_non_null(in);
    assert_non_null(out);
    while (fgets(line, sizeof line, in)) {
        if (strncmp(line, "# TYPE ", 7) == 0)
            counter = strstr(line, " counter\n") != NULL;
        copy_line(out, line, counter, classic);
    }
    fclose(in);
    fclose(out);
    return text;
}

static void check(void (*write)(FILE *, const struct status *), bool classic)
{
    size_t len;
    char *text = sample_write(metrics, write, &len);
    char *golden = read_golden(classic);
    assert_string_equal(text, golden);
    free(text);
    free(golden);
}

static void test_openmetrics(void **state)
{
    (void)state;
    check(write_new, false);
}

static void test_classic(void **state)
{
    (void)state;
    check(write_classic, true);
}

static void write_without_files(FILE *out, const struct status *status)
{
    struct status without = *status;
    without.nfiles = 0;
    status_write_openmetrics(out, &without, false);
}

/* A family without a sample is none. */
static void test_no_files(void **state)
{
    (void)state;
    size_t len;
    char *text = sample_write(metrics, write_without_files, &len);
    assert_null(strstr(text, "trust_file"));
    assert_string_equal(text + len - 6, "# EOF\n");
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_openmetrics), TEST(test_classic), TEST(test_no_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
