#include "adapters/middleware.h"
#include "fcgi_realip.h"

int fcgi_realip_accept_r(fcgi_realip_policy *policy, struct FCGX_Request *request)
{
    static const struct middleware_calls calls = {
        .accept_r = FCGX_Accept_r,
        .finish_r = FCGX_Finish_r,
        .put_str = FCGX_PutStr,
        .get_str = FCGX_GetStr,
        .f_flush = FCGX_FFlush,
        .start_filter_data = FCGX_StartFilterData,
    };

    return middleware_accept(policy, &calls, request);
}
