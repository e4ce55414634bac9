// A link that ends in #token=... opens the page at once: what is behind # is not sent, and stands in no server's log.

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);
  const field = document.getElementById("token");
  field.value = given;
  field.form.submit();
}
