/*
 * The picture that is made of the counters, its numbers for people, what a query asks for, and the whole
 * answer; text and JSON byte by byte.
 */
#include "status_sample.h"

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

static void test_sums(void **state)
{
    (void)state;
    struct status status;
    sample_status(&status, metrics);
    assert_int_equal(status.total.outcomes[OUTCOME_ANSWERED], 10);
    assert_int_equal(metrics_count_requests(&status.total), 13);
    assert_int_equal(status.now.requests, 5);
    assert_int_equal(status.now.fronts, 42);
    assert_int_equal(status.now.upstreams, 15);
    assert_int_equal(status.total.decisions[REASON_UNTRUSTED_HOP], 1234568);
    assert_int_equal(status.time, SAMPLE_TIME);
    assert_int_equal(status.generation, 3); /* that of a process that has ended is of the past */
}

/* The last sixty whole seconds; the one that runs is not among them. */
static void test_history(void **state)
{
    (void)state;
    struct status status;
    sample_status(&status, metrics);
    uint64_t sum = 0;
    for (size_t i = 0; i < STATUS_SECONDS; i++)
        sum += status.ended[i];
    assert_int_equal(status.ended[0], 1);
    assert_int_equal(status.ended[30], 1);
    assert_int_equal(status.ended[50], 1);
    assert_int_equal(status.ended[59], 8);
    assert_int_equal(sum, 11);
    /* An hour later nothing of it is left. */
    status_gather(&status, metrics, SAMPLE_TIME + 3600, SAMPLE_NOW + 3600 * (uint64_t)1000000);
    for (size_t i = 0; i < STATUS_SECONDS; i++)
        assert_int_equal(status.ended[i], 0);
}

static void test_refused_of_all(void **state)
{
    (void)state;
    struct status status;
    sample_status(&status, metrics);
    assert_int_equal(status.nrefused, 3);
    assert_int_equal(status.refused[0].count, 9);
    assert_int_equal(status.refused[1].count, 2);
    assert_int_equal(status.refused[2].count, 1);
    /* Of many, those that were refused most, in their order. */
    for (unsigned i = 0; i < 20; i++) {
        char client[32];
        snprintf(client, sizeof client, "198.51.100.%u", i);
        sample_refuse(&metrics->slots[i % 2], SLICE("10.0.0.9"), client, 10 + (i * 7) % 20);
    }
    sample_status(&status, metrics);
    assert_int_equal(status.nrefused, STATUS_REFUSED);
    for (size_t i = 0; i < STATUS_REFUSED; i++)
        assert_int_equal(status.refused[i].count, 29 - i);
}

static void test_formats_for_people(void **state)
{
    (void)state;
    static const struct {
        void (*format)(char *out, uint64_t value);
        uint64_t value;
        const char *expected;
    } rows[] = {
        {status_format_bytes, 0, "0 B"},
        {status_format_bytes, 999, "999 B"},
        {status_format_bytes, 1000, "1.00 kB"},
        {status_format_bytes, 9994, "9.99 kB"},
        {status_format_bytes, 9995, "10.0 kB"},
        {status_format_bytes, 99949, "99.9 kB"},
        {status_format_bytes, 99950, "100 kB"},
        {status_format_bytes, 999499, "999 kB"},
        {status_format_bytes, 999500, "1.00 MB"},
        {status_format_bytes, 12345678901, "12.3 GB"},
        {status_format_bytes, UINT64_MAX, "18.4 EB"},
        {status_format_time, 0, "0 \302\265s"},
        {status_format_time, 999, "999 \302\265s"},
        {status_format_time, 1234, "1.23 ms"},
        {status_format_time, 999499, "999 ms"},
        {status_format_time, 999500, "1.00 s"},
        {status_format_time, 61000000, "61.0 s"},
        {status_format_age, 59, "59 s"},
        {status_format_age, 60, "1 min 0 s"},
        {status_format_age, 3599, "59 min 59 s"},
        {status_format_age, 3600, "1 h 0 min"},
        {status_format_age, 86399, "23 h 59 min"},
        {status_format_age, 86400, "1 d 0 h"},
        {status_format_age, 400 * 86400, "400 d 0 h"},
        {status_format_rate, 0, "0.0"},
        {status_format_rate, 1234, "123.4"},
        {status_format_count, 0, "0"},
        {status_format_count, 999, "999"},
        {status_format_count, 1000, "1\342\200\257000"},
        {status_format_count, 1234567, "1\342\200\257234\342\200\257567"},
        {status_format_count, 123456, "123\342\200\257456"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[STATUS_SHORT];
        rows[i].format(out, rows[i].value);
        assert_string_equal(out, rows[i].expected);
    }
}

static void test_age_of_what_lies_ahead(void **state)
{
    (void)state;
    struct status status = {.time = 100};
    assert_int_equal(status_find_age(&status, 99), 1);
    assert_int_equal(status_find_age(&status, 100), 0);
    assert_int_equal(status_find_age(&status, 101), 0);
}

static void test_choice(void **state)
{
    (void)state;
    static const struct {
        const char *query, *accept;
        enum status_format format;
    } rows[] = {
        {"", NULL, STATUS_TEXT},
        {"json", NULL, STATUS_JSON},
        {"json&pretty=1", "text/html", STATUS_JSON},
        {"json=1", NULL, STATUS_JSON},
        {"html", NULL, STATUS_HTML},
        {"html=", "text/html", STATUS_HTML},
        {"JSON", NULL, STATUS_TEXT},
        {"jsonp", NULL, STATUS_TEXT},
        {"x&json", NULL, STATUS_TEXT},
        {"prometheus", NULL, STATUS_OPENMETRICS},
        {"prometheus", "", STATUS_PROMETHEUS},
        {"prometheus", "*/*", STATUS_PROMETHEUS},
        {"prometheus", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
         STATUS_OPENMETRICS},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice accept = {NULL, 0};
        if (rows[i].accept)
            accept = slice_of(rows[i].accept);
        assert_int_equal(status_choose(slice_of(rows[i].query), accept), rows[i].format);
    }
    assert_int_equal(status_choose((struct slice){NULL, 0}, (struct slice){NULL, 0}), STATUS_TEXT);
}

static void write_answer(FILE *out, const struct status *status)
{
    status_answer(out, STATUS_JSON, status);
}

static void test_answer(void **state)
{
    (void)state;
    static const char head[] =
        "Status: 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n\r\n";
    size_t len, body_len;
    char *text = sample_write(metrics, write_answer, &len);
    char *body = sample_write(metrics, status_write_json, &body_len);
    assert_int_equal(len, sizeof head - 1 + body_len);
    assert_memory_equal(text, head, sizeof head - 1);
    assert_memory_equal(text + sizeof head - 1, body, body_len);
    free(text);
    free(body);
}

static void test_text(void **state)
{
    (void)state;
    size_t len;
    char *text = sample_write(metrics, status_write_text, &len);
    assert_string_equal(text,
                        "fcgi-realip " FCGI_REALIP_VERSION ", pid 4711, up 1 d 1 h, configuration 3\n"
                        "\n"
                        "requests\n"
                        "  total              13\n"
                        "  answered           10\n"
                        "  refused            1\n"
                        "  aborted            1\n"
                        "  broken             1\n"
                        "  in_flight          5\n"
                        "  last_10_seconds    9\n"
                        "  status_page        1\n"
                        "\n"
                        "refusals\n"
                        "  400                0\n"
                        "  403                1\n"
                        "  431                0\n"
                        "  502                0\n"
                        "  503                1\n"
                        "  504                0\n"
                        "\n"
                        "decisions\n"
                        "  untrusted-peer     0\n"
                        "  untrusted-hop      1234568\n"
                        "  exhausted          0\n"
                        "  no-header          0\n"
                        "  malformed          0\n"
                        "  single             0\n"
                        "  hops               0\n"
                        "  leftmost           0\n"
                        "  denied             9\n"
                        "\n"
                        "latency\n"
                        "  count              10\n"
                        "  sum                14.0 s\n"
                        "  p50                2.03 s\n"
                        "  p90                2.03 s\n"
                        "  p99                2.03 s\n"
                        "  p999               2.03 s\n"
                        "  max                2.03 s\n"
                        "\n"
                        "application\n"
                        "  connections        15\n"
                        "  connects           15\n"
                        "  connect_failures   2\n"
                        "  reuses             1000\n"
                        "  retries            5\n"
                        "  bytes_to           18.4 EB\n"
                        "  bytes_from         12.3 MB\n"
                        "\n"
                        "web_server\n"
                        "  connections        42\n"
                        "  accepted           44\n"
                        "  bytes_from         999 B\n"
                        "  bytes_to           1.00 kB\n"
                        "\n"
                        "queue\n"
                        "  length             1\n"
                        "  waits              17\n"
                        "  overflows          6\n"
                        "\n"
                        "time_outs\n"
                        "  header             0\n"
                        "  web_server         0\n"
                        "  queue              4\n"
                        "  connect            0\n"
                        "  send               0\n"
                        "  read               0\n"
                        "  request            0\n"
                        "\n"
                        "refused\n"
                        "  9                  client 192.0.2.66, peer \"10.0.0.1\"\n"
                        "  2                  client 2001:db8::1, peer \"unix:\"\n"
                        "  1                  client , peer "
                        "\"<script>alert('&\\x22\\x5c\\x0a\\xff\\x00 \\xe2\\x80\\xae\"\n"
                        "\n"
                        "trust_files\n"
                        "  cdn                /etc/fcgi-realip/cdn.txt: entries 22, age 1 d 1 h\n"
                        "  odd                /tmp/<b>\\x22odd\\x5c\\x0a\\xff\\xc3\\xa4.txt: entries 1, "
                        "age 0 s\n"
                        "\n"
                        "workers\n"
                        "  0                  pid 4712, up 1 d 1 h, configuration 3, requests 4, in "
                        "flight 3, queue 1\n"
                        "  1                  pid 4713, up 1 h 0 min, configuration 2, requests 8, in "
                        "flight 2, queue 0\n"
                        "  2                  does not run, requests 1, in flight 0, queue 0\n");
    free(text);
}

static void test_json(void **state)
{
    (void)state;
    size_t len;
    char *text = sample_write(metrics, status_write_json, &len);
    assert_string_equal(
        text,
        "{\"name\":\"fcgi-realip\",\"version\":\"" FCGI_REALIP_VERSION "\",\"pid\":4711,\"time\":1000090000,"
        "\"started\":1000000000,\"uptime\":90000,\"generation\":3,"
        "\"requests\":{\"total\":13,\"answered\":10,\"refused\":1,\"aborted\":1,\"broken\":1,"
        "\"in_flight\":5,\"last_10_seconds\":9,\"status_page\":1},"
        "\"refusals\":{\"400\":0,\"403\":1,\"431\":0,\"502\":0,\"503\":1,\"504\":0},"
        "\"decisions\":{\"untrusted-peer\":0,\"untrusted-hop\":1234568,\"exhausted\":0,\"no-header\":0,"
        "\"malformed\":0,\"single\":0,\"hops\":0,\"leftmost\":0,\"denied\":9},"
        "\"latency_us\":{\"count\":10,\"sum\":14001670,\"p50\":2031616,\"p90\":2031616,\"p99\":2031616,"
        "\"p999\":2031616,\"max\":2031616},"
        "\"application\":{\"connections\":15,\"connects\":15,\"connect_failures\":2,\"reuses\":1000,"
        "\"retries\":5,\"bytes_to\":18446744073709551615,\"bytes_from\":12345678},"
        "\"web_server\":{\"connections\":42,\"accepted\":44,\"bytes_from\":999,\"bytes_to\":1000},"
        "\"queue\":{\"length\":1,\"waits\":17,\"overflows\":6},"
        "\"time_outs\":{\"header\":0,\"web_server\":0,\"queue\":4,\"connect\":0,\"send\":0,\"read\":0,"
        "\"request\":0},"
        "\"history\":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,"
        "0,"
        "0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,8],"
        "\"refused\":[{\"client\":\"192.0.2.66\",\"peer\":\"10.0.0.1\",\"count\":9},"
        "{\"client\":\"2001:db8::1\",\"peer\":\"unix:\",\"count\":2},"
        "{\"client\":\"\",\"peer\":\"<script>alert('&\\\"\\\\\\u000a\\u00ff\\u0000 \xe2\x80\xae\","
        "\"count\":1}],"
        "\"trust_files\":[{\"group\":\"cdn\",\"path\":\"/etc/fcgi-realip/cdn.txt\",\"entries\":22,"
        "\"modified\":1000000000,\"age\":90000},"
        "{\"group\":\"odd\",\"path\":\"/tmp/<b>\\\"odd\\\\\\u000a\\u00ff\xc3\xa4.txt\",\"entries\":1,"
        "\"modified\":1000090001,\"age\":0}],"
        "\"workers\":[{\"number\":0,\"pid\":4712,\"uptime\":90000,\"generation\":3,\"requests\":4,"
        "\"in_flight\":3,\"queue\":1,\"connections\":40},"
        "{\"number\":1,\"pid\":4713,\"uptime\":3600,\"generation\":2,\"requests\":8,\"in_flight\":2,"
        "\"queue\":0,\"connections\":2},"
        "{\"number\":2,\"pid\":0,\"uptime\":0,\"generation\":4,\"requests\":1,\"in_flight\":0,\"queue\":0,"
        "\"connections\":0}]}\n");
    free(text);
}

/* The list has room for all, and each name stands there once. */
static void test_values(void **state)
{
    (void)state;
    struct status status;
    struct status_value values[STATUS_VALUES];
    sample_status(&status, metrics);
    size_t n = status_list_values(&status, values);
    assert_in_range(n, 40, STATUS_VALUES);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(strcmp(values[i].name, values[j].name) != 0 ||
                        strcmp(values[i].section, values[j].section) != 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sums),
        TEST(test_history),
        TEST(test_refused_of_all),
        cmocka_unit_test(test_formats_for_people),
        cmocka_unit_test(test_age_of_what_lies_ahead),
        cmocka_unit_test(test_choice),
        TEST(test_answer),
        TEST(test_text),
        TEST(test_json),
        TEST(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
