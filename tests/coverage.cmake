# `cmake -DCOVERAGE=ON ...`, then the target `coverage`: runs the unit tests of the deciding and decoding parts, prints
# their line and branch coverage, and fails where a part has less than 95 % of either.

if(COVERAGE)
  find_program(GCOVR gcovr REQUIRED)

  get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  list(FILTER targets INCLUDE REGEX "^unit-(realip|fastcgi)-")

  set(reports)
  foreach(part realip fastcgi)
    set(gcovr ${GCOVR} --root ${PROJECT_SOURCE_DIR} --object-directory ${PROJECT_BINARY_DIR}/CMakeFiles/${part}.dir
              --filter "${PROJECT_SOURCE_DIR}/src/${part}/" ${PROJECT_BINARY_DIR}/CMakeFiles/${part}.dir)
    list(APPEND reports
      COMMAND ${CMAKE_COMMAND} -E echo "src/${part}: lines"
      COMMAND ${gcovr} --txt --fail-under-line 95
      COMMAND ${CMAKE_COMMAND} -E echo "src/${part}: branches"
      COMMAND ${gcovr} --txt --branches --fail-under-branch 95)
  endforeach()

  # Fewer random cases than a plain run: without optimisation they are slow, and they reach the same lines.
  add_custom_target(coverage
    COMMAND find ${PROJECT_BINARY_DIR} -name "*.gcda" -delete
    COMMAND ${CMAKE_COMMAND} -E env CASES=60000 ${CMAKE_CTEST_COMMAND} --output-on-failure -R "^unit-(realip|fastcgi)-"
    ${reports}
    WORKING_DIRECTORY ${PROJECT_BINARY_DIR}
    VERBATIM)
  add_custom_target(coverage-programs)
  if(targets)
    add_dependencies(coverage-programs ${targets})
  endif()
  add_dependencies(coverage coverage-programs)
endif()
