/*
 * fcgi-realip: the command line's first word picks a command; without one it is `serve`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/*
 * A launcher may have closed descriptors 0 to 2. The first socket would then become standard error, and log
 * lines would go to a client.
 */
static int fill_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDWR) != fd)
            return -errno;
    return 0;
}

int main(int argc, char **argv)
{
    int error = fill_standard_fds();
    if (error) {
        fprintf(stderr, "fcgi-realip: error: cannot open /dev/null: %s\n", strerror(-error));
        return CLI_FAILED;
    }
    return cli_run(argc, argv);
}
