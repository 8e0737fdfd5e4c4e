"""End points that lie close together become cells; cells are joined across blocks and filtered."""
