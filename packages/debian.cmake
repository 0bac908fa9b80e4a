# Debian packages: `cpack -G DEB` in a build folder that was configured with -DCMAKE_INSTALL_PREFIX=/usr. Their
# maintainer is whoever DEBFULLNAME and DEBEMAIL name when that is done, as for Debian's own tools. tests/packages/run
# shows how to have Debian's compiler flags as well.

set(FCGI_REALIP_DEBIAN_REVISION 1 CACHE STRING "What stands behind the version of Debian packages")
set(debian ${CMAKE_CURRENT_SOURCE_DIR}/debian)
set(made ${CMAKE_CURRENT_BINARY_DIR}/debian)
set(packages fcgi-realip libfcgi-realip0 libfcgi-realip-dev libfcgi-realip-preload)

# --- what packages alone have, and `cmake --install` does not ---

set(maintainer_name "The fcgi-realip authors")
set(maintainer_mail fcgi-realip@packages.invalid)
if(DEFINED ENV{DEBFULLNAME} AND DEFINED ENV{DEBEMAIL})
  set(maintainer_name "$ENV{DEBFULLNAME}")
  set(maintainer_mail "$ENV{DEBEMAIL}")
endif()
set(debian_version ${PROJECT_VERSION}-${FCGI_REALIP_DEBIAN_REVISION})
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(${debian}/changelog.in ${made}/changelog.Debian @ONLY)

foreach(package ${packages})
  set(only COMPONENT debian-${package} EXCLUDE_FROM_ALL)
  set(doc ${CMAKE_INSTALL_DATADIR}/doc/${package})
  install(FILES ${made}/changelog.Debian ${debian}/copyright DESTINATION ${doc} ${only})
  install(FILES ${debian}/${package}.lintian
    DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME ${package} ${only})
endforeach()
install(FILES ${etc}/fcgi-realip.ini DESTINATION ${CMAKE_INSTALL_DATADIR}/etc/fcgi-realip
  COMPONENT debian-fcgi-realip EXCLUDE_FROM_ALL) # finish.cmake puts both where they belong
install(FILES ${etc}/logrotate/fcgi-realip DESTINATION ${CMAKE_INSTALL_DATADIR}/etc/logrotate.d
  COMPONENT debian-fcgi-realip EXCLUDE_FROM_ALL)

# --- the packages ---

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME fcgi-realip)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "${maintainer_name} <${maintainer_mail}>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_SOURCE_DIR}/finish.cmake)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${FCGI_REALIP_DEBIAN_REVISION})
set(CPACK_DEBIAN_PACKAGE_SECTION web)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION TRUE)

# CPack's names of things are in upper case.
function(set_for package what)
  string(TOUPPER ${package} upper)
  set(CPACK_DEBIAN_${upper}_${what} "${ARGN}" PARENT_SCOPE)
endfunction()

set_for(fcgi-realip DESCRIPTION "tell FastCGI applications behind proxies who the client is
Behind a load balancer or a CDN, a FastCGI application sees the proxy's
address in REMOTE_ADDR. fcgi-realip stands between web server and application,
works out from X-Forwarded-For (or another header) and a list of trusted
proxies who the client is, puts that into REMOTE_ADDR, and relays everything
else untouched.")
set_for(fcgi-realip PACKAGE_DEPENDS "adduser")
set_for(fcgi-realip PACKAGE_SUGGESTS "logrotate")
set_for(fcgi-realip PACKAGE_CONTROL_EXTRA
  ${debian}/conffiles ${debian}/postinst ${debian}/prerm ${debian}/postrm)

set_for(libfcgi-realip0 DESCRIPTION "client addresses behind proxies, for libfcgi programs
What fcgi-realip does, inside a program that is built on libfcgi: without a
process in between, with the same configuration and the same answers.")
set_for(libfcgi-realip0 PACKAGE_SECTION libs)
set_for(libfcgi-realip0 PACKAGE_CONTROL_EXTRA ${debian}/triggers)

set_for(libfcgi-realip-dev DESCRIPTION "client addresses behind proxies, for libfcgi programs (development)
What fcgi-realip does, inside a program that is built on libfcgi.

This package has the header, the static library, the manual page, and files for
pkg-config and CMake.")
set_for(libfcgi-realip-dev PACKAGE_SECTION libdevel)
set_for(libfcgi-realip-dev PACKAGE_DEPENDS "libfcgi-realip0 (= ${debian_version}), libfcgi-dev, libinih-dev")

set_for(libfcgi-realip-preload DESCRIPTION "client addresses behind proxies, for unchanged libfcgi programs
What fcgi-realip does, as a library for LD_PRELOAD: a program that is
dynamically linked with libfcgi gets the client's address in REMOTE_ADDR
without a change.")
set_for(libfcgi-realip-preload PACKAGE_SECTION libs)
set_for(libfcgi-realip-preload PACKAGE_CONTROL_EXTRA ${debian}/triggers)

foreach(package ${packages})
  list(APPEND CPACK_COMPONENTS_ALL ${package} debian-${package})
  set_for(${package} PACKAGE_NAME ${package})
endforeach()

include(CPack)
foreach(package ${packages})
  cpack_add_component_group(${package})
  cpack_add_component(${package} GROUP ${package})
  cpack_add_component(debian-${package} GROUP ${package})
endforeach()
