/*
 * The page for people: how the template is filled. tests/e2e/67-status-page.py reads it as a whole.
 */
#include "status_sample.h"

static struct metrics *metrics;
static char *page;
static size_t page_len;

static int set_up(void **state)
{
    (void)state;
    metrics = sample_metrics();
    page = sample_write(metrics, status_write_html, &page_len);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(page);
    metrics_free(metrics);
    return 0;
}

static void check_holds(const char *text)
{
    if (!strstr(page, text))
        print_error("not on the page: %s\n", text);
    assert_non_null(strstr(page, text));
}

static void test_numbers(void **state)
{
    (void)state;
    check_holds("<small data-k=\"version\" data-f=\"text\">" FCGI_REALIP_VERSION "</small>");
    check_holds("<b data-k=\"pid\" data-f=\"plain\">4711</b>");
    check_holds("<b data-k=\"uptime\" data-f=\"age\">1 d 1 h</b>");
    check_holds("<b data-k=\"generation\" data-f=\"count\">3</b>");
    check_holds("<b data-k=\"time\" data-f=\"clock\">2001-09-10 02:46:40 UTC</b>");
    check_holds("<b data-k=\"requests.last_10_seconds\" data-f=\"rate\">0.9</b>");
    check_holds("<b data-k=\"latency_us.p50\" data-f=\"time\">2.03 s</b>");
    check_holds(
        "<td data-k=\"decisions.untrusted-hop\" data-f=\"count\">1\342\200\257234\342\200\257568</td>");
    check_holds("data-k=\"application.bytes_from\" data-f=\"bytes\">12.3 MB</");
    check_holds("<td data-k=\"refusals.503\" data-f=\"count\">1</td>");
}

static void test_widths(void **state)
{
    (void)state;
    check_holds("<rect data-w=\"requests.answered\" data-of=\"requests.total\" height=\"1\" width=\"76.9\">");
    check_holds("<rect data-w=\"requests.aborted\" data-of=\"requests.total\" height=\"1\" width=\"7.6\">");
    /* Never more than all of it, and nothing of nothing. */
    check_holds(
        "<rect data-w=\"decisions.untrusted-hop\" data-of=\"requests.total\" height=\"1\" width=\"100.0\">");
    check_holds("<rect data-w=\"decisions.hops\" data-of=\"requests.total\" height=\"1\" width=\"0.0\">");
}

static void test_chart(void **state)
{
    (void)state;
    check_holds("<path data-chart=\"history\" d=\"M1 100v-13h8V100zM301 100v-13h8V100zM501 100v-13h8V100z"
                "M591 100v-100h8V100z\"></path>");
    check_holds("<span data-peak=\"history\">8</span>");
}

static void test_lists(void **state)
{
    (void)state;
    check_holds(
        "<tbody><tr><td class=\"\">192.0.2.66</td><td class=\"\">10.0.0.1</td><td class=\"number\">9</td>"
        "</tr><tr><td class=\"\">2001:db8::1</td><td class=\"\">unix:</td><td class=\"number\">2</td></tr>"
        "<tr><td class=\"\"></td><td class=\"\">&#60;script&#62;alert(&#39;&#38;&#34;\\x5c\\x0a\\xff\\x00 "
        "\342\200\256</td><td class=\"number\">1</td></tr></tbody>");
    check_holds(
        "<tbody><tr><td class=\"\">cdn</td><td class=\"\">/etc/fcgi-realip/cdn.txt</td>"
        "<td class=\"number\">22</td><td class=\"number\">1 d 1 h</td></tr>"
        "<tr><td class=\"\">odd</td><td class=\"\">/tmp/&#60;b&#62;&#34;odd\\x5c\\x0a\\xff\303\244.txt</td>"
        "<td class=\"number\">1</td><td class=\"number\">0 s</td></tr></tbody>");
    check_holds(
        "<tbody><tr><td class=\"\">0</td><td class=\"number\">4712</td><td class=\"number\">1 d 1 h</td>"
        "<td class=\"number\">3</td><td class=\"number\">4</td><td class=\"number\">3</td>"
        "<td class=\"number\">1</td><td class=\"number\">40</td></tr>");
    check_holds("<tr><td class=\"\">2</td><td class=\"number\">0</td><td class=\"number\">0 s</td>");
}

/* Control characters beyond ASCII are made visible, too, and what is no UTF-8. */
static void test_text(void **state)
{
    (void)state;
    memset(metrics->slots[0].refused, 0, sizeof metrics->slots[0].refused);
    memset(metrics->slots[1].refused, 0, sizeof metrics->slots[1].refused);
    sample_refuse(&metrics->slots[0], SLICE("\302\205\302\240\355\240\200\300\257\360\237\230\200\177"), "",
                  1);
    char *text = sample_write(metrics, status_write_html, &page_len);
    assert_non_null(
        strstr(text, "<td class=\"\">\\x85\302\240\\xed\\xa0\\x80\\xc0\\xaf\360\237\230\200\\x7f</td>"));
    free(text);
}

/* Style and script are where the template has room for them, and the policy names both. */
static void test_parts(void **state)
{
    (void)state;
    size_t len;
    check_holds("<style>\n:root {");
    check_holds("<script>\n\"use strict\";");
    assert_int_equal(strlen(page), page_len);
    assert_string_equal(page + page_len - 8, "</html>\n");
    struct status status;
    char *policy = NULL;
    sample_status(&status, metrics);
    FILE *out = open_memstream(&policy, &len);
    assert_non_null(out);
    status_write_html_policy(out);
    fclose(out);
    char style[48], script[48];
    assert_int_equal(
        sscanf(policy,
               "Content-Security-Policy: default-src 'none'; style-src 'sha256-%44[A-Za-z0-9+/=]'; "
               "script-src 'sha256-%44[A-Za-z0-9+/=]'; connect-src 'self'; base-uri 'none'; "
               "form-action 'none'; frame-ancestors 'none'\r\n",
               style, script),
        2);
    assert_int_equal(strlen(style), 44);
    assert_int_equal(strlen(script), 44);
    assert_string_not_equal(style, script);
    free(policy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_numbers), TEST(test_widths), TEST(test_chart),
                                       TEST(test_lists),   TEST(test_text),   TEST(test_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
