# The oracle, the random cases, and what carries a rewrite out: a library for the tests that need it.

add_library(oracle STATIC support/oracle_text.c support/oracle_list.c support/oracle_decide.c
                          support/oracle_rewrite.c support/random_case.c support/random_request.c
                          support/applied.c support/rewrite_checks.c)
target_link_libraries(oracle PUBLIC realip)

foreach(name realip-random realip-random_rewrite realip-random_address realip-edges)
  if(TARGET unit-${name})
    target_link_libraries(unit-${name} PRIVATE oracle)
  endif()
endforeach()

# Its allocations fail on command.

if(TARGET unit-realip-memory)
  target_link_options(unit-realip-memory PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc)
endif()
